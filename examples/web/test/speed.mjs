// Microseconds of a whole step and of its update: node test/speed.mjs MODULE

import { readFileSync } from "node:fs";
import { Training, readDigits } from "../page/training.js";

const read = (name) => readFileSync(new URL(`../target/page/${name}`, import.meta.url));
const native = JSON.parse(read("native.json"));
const module = new WebAssembly.Module(read(`${process.argv[2]}.wasm`));
const training = new Training(module, await readDigits(read("digits.csv.gz")));

// The shortest of many times, which is least affected by other load.
function timeStep(i, rate) {
    let best = Infinity;
    training.start(i, rate, 20);
    for (let n = 0; n < training.steps; n++) {
        const start = performance.now();
        training.train(1);
        best = Math.min(best, performance.now() - start);
    }
    return best;
}

const timeUpdate = () => training.timeUpdate(10, 500);

// Engines recompile hot code: first a warm-up run that is not measured.
native.optimizers.forEach(({ rate }, i) => [timeStep(i, rate), timeUpdate()]);
native.optimizers.forEach(({ name, rate }, i) => {
    const [step, update] = [1000 * timeStep(i, rate), 1000 * timeUpdate()];
    console.log(`${name}: ${step.toFixed(1)} µs, of which the update ${update.toFixed(2)} µs`);
});
