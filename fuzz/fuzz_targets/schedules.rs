#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| layerwise_fuzz::run(layerwise_fuzz::schedules, data));
