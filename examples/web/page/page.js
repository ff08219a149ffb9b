// The page's display and controls. The worker does the training.
//
// In the URL: ?epochs=2 (a short run), ?rate=0.1 (all at this rate), ?module=fallback, ?start (at once).

import { draw, symbol } from "./chart.js";
import { bestModule } from "./training.js";

const at = (id) => document.getElementById(id);
const address = new URLSearchParams(location.search);
const moduleName = address.get("module") ?? bestModule();

let native; // the contents of native.json
let expected; // its run with the same number of epochs, if there is one
let epochs;
let worker;
let run = 0; // counts starts, to recognise late messages of earlier runs
let state = "loading"; // ready, training, paused, done, failed
let curves = []; // for each optimizer points of [step, accuracy]
let steps = 1;
let results = []; // for each optimizer its result
const trained = []; // for each optimizer the accuracies reached here, by slider stop
let drawn = true;

const stop = () => Number(at("rate").value);
const own = () => at("own").checked;
const stopOf = (i) => (own() ? native.rates.indexOf(native.optimizers[i].rate) : stop());
const rateOf = (i) => native.rates[stopOf(i)];
const percent = (right) => ((100 * right) / native.tested).toFixed(1);

function become(next, text, tone = "") {
    state = next;
    document.body.dataset.state = next;
    at("status").textContent = text;
    at("status").className = tone;
    at("play").textContent = { training: "Pause", paused: "Continue", done: "Train again" }[next] ?? "Start";
    const useless = next === "loading" || next === "failed";
    for (const id of ["rate", "own", "play"]) at(id).disabled = useless;
    at("reset").disabled = useless || next === "ready";
}

const failed = (text) => become("failed", `It does not work here: ${text}`, "bad");

// Resets training, and shows the next rates.
function reset() {
    run += 1;
    curves = native.optimizers.map(() => []);
    results = native.optimizers.map(() => ({}));
    at("rate").classList.toggle("idle", own());
    at("rate-text").textContent = own() ? "each its own" : native.rates[stop()];
    worker.postMessage({ kind: "play", playing: false });
    worker.postMessage({ kind: "start", run, epochs, rates: native.optimizers.map((_, i) => rateOf(i)) });
    redraw();
}

function play(playing) {
    worker.postMessage({ kind: "play", playing });
    if (playing) become("training", "Training…");
    else become("paused", "Paused.");
}

function changeRate() {
    const goOn = state !== "ready";
    reset();
    if (goOn) play(true);
}

function received({ data }) {
    if (data.kind === "failed") return failed(data.text);
    if (data.kind === "loaded") return loaded(data);
    if (data.run !== run) return;
    if (data.kind === "progress") {
        steps = data.steps;
        curves[data.i].push([data.step, data.right / native.tested]);
        results[data.i].right = data.right;
    }
    if (data.kind === "end") end(data);
    redraw();
}

function end({ i, hash, ms, micros }) {
    const wanted = expected?.hashes[i][stopOf(i)];
    const equal = wanted === undefined ? "unknown" : wanted === hash;
    Object.assign(results[i], { hash, ms, micros, equal });
    trained[i].set(stopOf(i), results[i].right / native.tested);
    if (results.some((result) => result.hash === undefined)) return;
    if (expected === undefined) become("done", `Done. There is no native run of ${epochs} epochs to compare with.`);
    else if (results.every((result) => result.equal === true)) {
        become("done", "Done. All four networks have the bits of the native run.", "good");
    } else become("done", "Done, but the weights are not those of the native run.", "bad");
}

function loaded(data) {
    at("module").textContent =
        `Module: ${moduleName}.wasm, ${data.bytes.toLocaleString("en")} bytes` +
        (moduleName === "simd128" ? "." : ", without simd128.") +
        ` ${native.trained} digits to learn from, ${native.tested} to test, ${native.parameters} weights,` +
        ` ${epochs} epochs.`;
    reset();
    become("ready", "Ready.");
    if (address.has("start")) play(true);
}

// At most once per frame.
function redraw() {
    if (drawn) requestAnimationFrame(show);
    drawn = false;
}

function show() {
    drawn = true;
    showCurves();
    showRates();
    results.forEach(showRow);
}

function showCurves() {
    const every = [10, 20, 50, 100, 200, 500, 1000, 2000, 5000].find((every) => steps / every <= 7) ?? steps;
    const ticks = Array.from({ length: Math.floor(steps / every) + 1 }, (_, n) => [(n * every) / steps, n * every]);
    const lines = curves.map((curve, i) => {
        const points = curve.map(([step, accuracy]) => [step / steps, accuracy]);
        return { i, points, marks: points.slice(-1) };
    });
    draw(at("curves"), { label: "steps", ticks, lines });
}

function showRates() {
    const place = (stop) => stop / (native.rates.length - 1);
    const ticks = native.rates.map((rate, n) => [place(n), rate]).filter((_, n) => n % 2 === 0);
    const lines = native.optimizers.map((_, i) => ({
        i,
        faint: true,
        points: expected?.right[i].map((right, n) => [place(n), right / native.tested]) ?? [],
        marks: [...trained[i]].map(([n, accuracy]) => [place(n), accuracy]),
    }));
    draw(at("rates"), { label: "learning rate", ticks, lines, here: own() ? undefined : place(stop()) });
}

function showRow({ right, hash, equal, ms, micros }, i) {
    const cells = at("results").tBodies[0].rows[i].cells;
    const equalText = { true: "✓ yes", false: "✗ no", unknown: "not known" }[equal] ?? "–";
    const texts = [rateOf(i), right === undefined ? "–" : percent(right), hash ?? "–"];
    texts.push(expected?.hashes[i][stopOf(i)] ?? "–", equalText, ms?.toFixed(3) ?? "–", micros?.toFixed(1) ?? "–");
    texts.forEach((text, n) => (cells[n + 1].textContent = text));
    cells[5].className = `equal ${{ true: "yes", false: "no" }[equal] ?? ""}`;
}

// The rows of the table, and the legend.
function list() {
    const labels = [...at("results").tHead.rows[0].cells].map((cell) => [cell.textContent, cell.className]);
    native.optimizers.forEach(({ name }, i) => {
        trained[i] = new Map();
        at("legend").insertAdjacentHTML("beforeend", `<li>${symbol(i)}${name}</li>`);
        const row = at("results").tBodies[0].insertRow();
        row.innerHTML = `<th scope="row">${symbol(i)}${name}</th>`;
        for (const [label, kind] of labels.slice(1)) {
            const cell = row.insertCell();
            cell.dataset.label = label;
            cell.className = label.startsWith("Hash") ? "hash" : kind;
        }
    });
}

async function begin() {
    become("loading", "Loading…");
    const response = await fetch("native.json");
    if (!response.ok) throw new Error(`native.json: ${response.status}`);
    native = await response.json();
    epochs = Number(address.get("epochs") ?? native.runs.at(-1).epochs);
    expected = native.runs.find((run) => run.epochs === epochs);
    const asked = native.rates.indexOf(Number(address.get("rate")));
    if (asked >= 0) [at("rate").value, at("own").checked] = [asked, false];
    list();
    worker = new Worker("worker.js", { type: "module" });
    worker.onmessage = received;
    worker.onerror = (event) => failed(event.message ?? "the worker does not start");
    worker.postMessage({ kind: "load", module: moduleName, count: native.optimizers.length });
}

at("controls").addEventListener("submit", (event) => {
    event.preventDefault();
    if (state === "done") reset();
    play(state !== "training");
});
at("reset").addEventListener("click", () => {
    reset();
    become("ready", "Ready.");
});
at("rate").addEventListener("input", () => {
    at("own").checked = false;
    changeRate();
});
at("own").addEventListener("change", changeRate);
new ResizeObserver(() => native && worker && redraw()).observe(at("curves"));
begin().catch((error) => failed(error.message));
