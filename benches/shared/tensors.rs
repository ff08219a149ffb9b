//! The lengths of the parameter tensors of models.

/// The tensors of ResNet-50 (He et al., 2015): 161 of them, 25,557,032 parameters.
pub(crate) fn resnet50() -> Vec<usize> {
    let mut tensors = vec![64 * 3 * 7 * 7, 64, 64];
    let mut inputs = 64;
    for (planes, blocks) in [(64, 3), (128, 4), (256, 6), (512, 3)] {
        for block in 0..blocks {
            let outputs = 4 * planes;
            for (convolution, channels) in
                [(inputs * planes, planes), (planes * planes * 9, planes), (planes * outputs, outputs)]
            {
                tensors.extend([convolution, channels, channels]);
            }
            if block == 0 {
                tensors.extend([inputs * outputs, outputs, outputs]);
            }
            inputs = outputs;
        }
    }
    tensors.extend([2048 * 1000, 1000]);
    assert_eq!((tensors.len(), tensors.iter().sum()), (161, 25_557_032));
    tensors
}

/// A keyword-spotting network of depthwise separable convolutions with 132 channels: 24 tensors, 101,388 parameters.
pub(crate) fn keyword_spotter() -> Vec<usize> {
    const CHANNELS: usize = 132;
    let mut tensors = vec![10 * 4 * CHANNELS, CHANNELS];
    for _ in 0..5 {
        tensors.extend([9 * CHANNELS, CHANNELS, CHANNELS * CHANNELS, CHANNELS]);
    }
    tensors.extend([12 * CHANNELS, 12]);
    assert_eq!((tensors.len(), tensors.iter().sum()), (24, 101_388));
    tensors
}

/// A perceptron with 1,024 inputs and outputs and 2,048 numbers between them: 4 tensors, 4,197,376 parameters.
#[allow(dead_code, reason = "not every benchmark has it")]
pub(crate) fn perceptron() -> Vec<usize> {
    vec![1024 * 2048, 2048, 2048 * 1024, 1024]
}
