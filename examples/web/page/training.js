// Training in a WebAssembly module that owns all its arrays. Used by the page's worker, and by tests in node.

// (module (func (result v128) i32.const 0 i8x16.splat))
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11];

// The module that this engine can run.
export function bestModule() {
    return WebAssembly.validate(new Uint8Array(SIMD)) ? "simd128" : "fallback";
}

// The digits as bytes, from the file's bytes. (Some servers send the file with a compressed encoding, and browsers then
// decompress it to text.)
export async function readDigits(bytes) {
    let blob = new Blob([bytes]);
    if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
        blob = await new Response(blob.stream().pipeThrough(new DecompressionStream("gzip"))).blob();
    }
    return Uint8Array.from((await blob.text()).trim().split(/[,\s]+/), Number);
}

const REFUSALS = ["", "no such optimizer", "the rate is out of range", "the epochs are out of range", "not the digits"];

export class Training {
    #exports;

    constructor(module, digits) {
        this.#exports = new WebAssembly.Instance(module).exports;
        const { memory, digits: address, digits_len: len } = this.#exports;
        if (digits.length !== len()) throw new Error("the digits are not complete");
        // A view is valid until the memory grows. This module's memory never grows; for other modules create views
        // again for each use.
        new Uint8Array(memory.buffer, address(), len()).set(digits);
    }

    start(optimizer, rate, epochs) {
        const refusal = this.#exports.start(optimizer, rate, epochs);
        if (refusal !== 0) throw new Error(REFUSALS[refusal] ?? `refusal ${refusal}`);
    }

    // Takes up to `steps` steps; returns how many have been taken.
    train(steps) {
        return this.#exports.train(steps);
    }

    get steps() {
        return this.#exports.steps();
    }

    get right() {
        return this.#exports.right();
    }

    // The module returns 64 bits, which JavaScript treats as signed.
    get hash() {
        return BigInt.asUintN(64, this.#exports.hash()).toString(16).padStart(16, "0");
    }

    // Milliseconds of the update, the optimizer's part of a step. It spoils the weights, so it comes last. (Browser
    // clocks have a resolution of 0.1 ms, so many updates must be timed together.)
    timeUpdate(times = 500, tries = 5) {
        let best = Infinity;
        for (let i = 0; i < tries; i++) {
            const start = performance.now();
            this.#exports.repeat_update(times);
            best = Math.min(best, (performance.now() - start) / times);
        }
        return best;
    }
}
