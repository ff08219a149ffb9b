// Trains in the background, so that the page never blocks: a few steps of each optimizer in turn.

import { Training, readDigits } from "./training.js";

// Steps between two points of a curve.
const SLICE = 15;

let trainings = [];
let runs = [];
let playing = false;
let busy = false;

async function load({ module, count }) {
    const files = [`${module}.wasm`, "digits.csv.gz"].map(async (name) => {
        const response = await fetch(name);
        if (!response.ok) throw new Error(`${name}: ${response.status}`);
        return new Uint8Array(await response.arrayBuffer());
    });
    const [code, data] = await Promise.all(files);
    const compiled = await WebAssembly.compile(code);
    const digits = await readDigits(data);
    trainings = Array.from({ length: count }, () => new Training(compiled, digits));
    postMessage({ kind: "loaded", bytes: code.length });
}

function start({ rates, epochs, run }) {
    trainings.forEach((training, i) => training.start(i, rates[i], epochs));
    runs = trainings.map((training, i) => ({ training, run, i, step: 0, steps: training.steps, ms: 0 }));
    runs.forEach(report);
}

function report({ training, run, i, step, steps }) {
    postMessage({ kind: "progress", run, i, step, steps, right: training.right });
}

function slice(state) {
    const start = performance.now();
    const before = state.step;
    state.step = state.training.train(SLICE);
    state.ms += performance.now() - start;
    if (state.step > before) report(state);
    if (state.step === state.steps) finish(state);
}

function finish(state) {
    const { training, run, i, step, ms } = state;
    const hash = training.hash;
    runs = runs.filter((other) => other !== state);
    postMessage({ kind: "end", run, i, hash, ms: ms / step, micros: 1000 * training.timeUpdate() });
}

async function play() {
    if (busy) return;
    busy = true;
    while (playing && runs.length > 0) {
        for (const state of [...runs]) slice(state);
        // Receives messages.
        await new Promise((resolve) => setTimeout(resolve));
    }
    busy = false;
}

async function receive(message) {
    if (message.kind === "load") await load(message);
    if (message.kind === "start") start(message);
    if (message.kind === "play") playing = message.playing;
    if (playing) await play();
}

onmessage = ({ data }) => {
    receive(data).catch((error) => postMessage({ kind: "failed", text: String(error.message ?? error) }));
};
