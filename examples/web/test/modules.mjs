// Both modules in node: the hashes of native runs at every rate, refusals, and the choice of the module.
//
//     node test/modules.mjs

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { Training, bestModule, readDigits } from "../page/training.js";

const read = (name) => readFileSync(new URL(`../target/page/${name}`, import.meta.url));
const native = JSON.parse(read("native.json"));
const packed = read("digits.csv.gz");
const digits = await readDigits(packed);

// As text, from a server that sends the file with a compressed encoding.
const { gunzipSync } = await import("node:zlib");
assert.deepEqual(await readDigits(gunzipSync(packed)), digits);

function trained(training, optimizer, rate, epochs) {
    training.start(optimizer, rate, epochs);
    assert.equal(training.train(7), 7);
    assert.equal(training.train(1e9), training.steps);
    return [training.hash, training.right];
}

// The runs whose weights or accuracy differ from the native ones.
function differences(training, { epochs, hashes, right }, stops) {
    const differ = [];
    native.optimizers.forEach(({ name }, i) => {
        for (const n of stops(i)) {
            const [hash, count] = trained(training, i, native.rates[n], epochs);
            if (hash !== hashes[i][n] || count !== right[i][n]) differ.push(`${name} at ${native.rates[n]}`);
        }
    });
    return differ;
}

function refuses(training) {
    training.start(0, 1, 1);
    const before = training.hash;
    const digit = (place, value) => Object.assign(Uint8Array.from(digits), { [place]: value });
    assert.throws(() => training.start(native.optimizers.length, 1, 1), /no such optimizer/);
    assert.throws(() => training.start(-1, 1, 1), /no such optimizer/);
    for (const rate of [-1, NaN, Infinity]) assert.throws(() => training.start(0, rate, 1), /rate/);
    for (const epochs of [0, 1e6]) assert.throws(() => training.start(0, 1, epochs), /epochs/);
    assert.equal(training.hash, before);
    return [digit(64, 10), digit(0, 17), digit(digits.length - 1, 255)];
}

for (const name of ["simd128", "fallback"]) {
    const module = new WebAssembly.Module(read(`${name}.wasm`));
    assert.deepEqual(WebAssembly.Module.imports(module), []);
    const training = new Training(module, digits);
    for (const wrong of refuses(training)) {
        assert.throws(() => new Training(module, wrong).start(0, 1, 1), /not the digits/);
    }
    assert.throws(() => new Training(module, digits.slice(1)), /not complete/);

    const [short, long] = native.runs;
    const all = () => native.rates.keys();
    const suits = (i) => [native.rates.indexOf(native.optimizers[i].rate)];
    assert.deepEqual(differences(training, short, all), []);
    assert.deepEqual(differences(training, long, suits), []);
    // A wrong hash, and one more correct digit, are detected.
    const wrong = structuredClone(short);
    wrong.hashes[1][3] = wrong.hashes[1][3].replace(/.$/, (x) => (x === "0" ? "1" : "0"));
    wrong.right[2][5] += 1;
    assert.deepEqual(differences(training, wrong, all), ["NovoGrad at 0.003", "SGD at 0.03"]);
    console.log(`${name}: all ${short.hashes.flat().length} short trainings have the hashes of native runs`);
}

// The same check in an engine with simd128 and in one without, which rejects the first module and runs the second.
assert.equal(bestModule(), "simd128");
if (process.arch === "x64") {
    const question = `
        import { readFileSync } from "node:fs";
        import { bestModule } from "./page/training.js";
        const valid = (name) => WebAssembly.validate(readFileSync(\`target/page/\${name}.wasm\`));
        console.log(bestModule(), valid("simd128"), valid("fallback"));`;
    const options = ["--no-enable-sse4-1", "--no-warnings", "--input-type=module", "--eval", question];
    const cwd = new URL("..", import.meta.url);
    assert.equal(execFileSync(process.execPath, options, { cwd, encoding: "utf8" }).trim(), "fallback false true");
}
