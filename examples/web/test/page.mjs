// The page in headless Chromium: it trains, its hashes match native runs, with either module; a wrong hash is detected;
// it fits wide and narrow windows.
//
//     node test/page.mjs                    # the tests
//     node test/page.mjs --pictures DIR     # pictures, wide and narrow, light and dark

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { Chromium, serve } from "./chromium.mjs";

const DIRECTORY = new URL("../target/page/", import.meta.url);

// One page, and its errors.
class Page {
    complaints = [];

    constructor(chromium, session) {
        this.chromium = chromium;
        this.session = session;
    }

    static async open(chromium, { width = 1280, height = 900, dark = false } = {}) {
        const { targetId } = await chromium.send("Target.createTarget", { url: "about:blank" });
        const { sessionId } = await chromium.send("Target.attachToTarget", { targetId, flatten: true });
        const page = new Page(chromium, sessionId);
        chromium.listener = (event) => page.#hear(event);
        for (const domain of ["Page", "Runtime", "Log"]) await page.send(`${domain}.enable`);
        await page.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: false });
        const features = [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }];
        await page.send("Emulation.setEmulatedMedia", { features });
        return page;
    }

    send(method, params) {
        return this.chromium.send(method, params, this.session);
    }

    #hear({ method, params }) {
        if (method === "Runtime.exceptionThrown") this.complaints.push(params.exceptionDetails.text);
        if (method === "Runtime.consoleAPICalled") this.complaints.push(JSON.stringify(params.args));
        if (method === "Log.entryAdded") this.complaints.push(`${params.entry.text} ${params.entry.url ?? ""}`);
    }

    async evaluate(expression) {
        const { result, exceptionDetails } = await this.send("Runtime.evaluate", { expression, returnByValue: true });
        if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
        return result.value;
    }

    // Waits until an expression is true.
    async until(expression) {
        const end = Date.now() + 60_000;
        while (!(await this.evaluate(expression))) {
            if (Date.now() > end) {
                throw new Error(`never: ${expression}; ${await this.evaluate("document.body.innerText")}`);
            }
            await new Promise((resolve) => setTimeout(resolve, 20));
        }
    }

    async go(url, state) {
        await this.send("Page.navigate", { url });
        await this.until(`location.href === ${JSON.stringify(url)} && document.body?.dataset.state === "${state}"`);
        await this.settle();
    }

    // Drawing happens in a frame.
    settle() {
        const expression = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))";
        return this.send("Runtime.evaluate", { expression, awaitPromise: true });
    }

    // The distance between two elements.
    part(first, last) {
        const edge = (id, name) => `document.getElementById("${id}").getBoundingClientRect().${name}`;
        const [x, y, bottom] = [edge(first, "left"), edge(first, "top"), edge(last, "bottom")];
        const [width, height] = [edge(first, "width"), `${bottom} - ${y}`];
        return this.evaluate(`({ x: ${x} - 10, y: ${y} - 10, width: ${width} + 20, height: ${height} + 20, scale: 1 })`);
    }

    // The table, as a list of texts per row.
    table() {
        const rows = "[...document.getElementById('results').tBodies[0].rows]";
        return this.evaluate(`${rows}.map((row) => [...row.cells].map((cell) => cell.textContent))`);
    }

    // Of the whole page, or of a part of it.
    async picture(file, clip) {
        const { data } = await this.send("Page.captureScreenshot", { captureBeyondViewport: true, clip });
        writeFileSync(file, Buffer.from(data, "base64"));
    }
}

// Each row has a hash that equals the native one, and says so. Returns the accuracies.
function checkTable(rows) {
    assert.equal(rows.length, 4);
    return rows.map(([name, , accuracy, here, native, equal, step, update]) => {
        assert.match(here, /^[0-9a-f]{16}$/, name);
        assert.equal(here, native, name);
        assert.equal(equal, "✓ yes", name);
        assert.ok(Number(step) > 0 && Number(update) > 0, `${name}: ${step}, ${update}`);
        return Number(accuracy);
    });
}

async function inChromium(options, test, change) {
    const server = await serve(DIRECTORY, change);
    const chromium = new Chromium(...options);
    try {
        await test(chromium, server.url);
    } finally {
        await chromium.close();
        server.close();
    }
}

// The page as opened: training, pause, another rate.
async function withSimd(chromium, url) {
    const page = await Page.open(chromium);
    await page.go(url, "ready");
    assert.match(await page.evaluate("document.getElementById('module').textContent"), /simd128\.wasm/);
    await page.evaluate("document.getElementById('play').click()");
    const drawn = "document.querySelector('#curves polyline').getAttribute('points').split(' ').length";
    await page.until(`${drawn} > 5`);
    await page.evaluate("document.getElementById('play').click()");
    assert.equal(await page.evaluate("document.body.dataset.state"), "paused");
    await page.settle();
    const before = await page.evaluate(drawn);
    await new Promise((resolve) => setTimeout(resolve, 200));
    const after = await page.evaluate(drawn);
    // (Two slices may have been in flight.)
    assert.ok(after <= before + 2, `a pause goes on: ${before}, ${after}`);
    await page.evaluate("document.getElementById('play').click()");
    await page.until("document.body.dataset.state === 'done'");
    await page.settle();
    const accuracies = checkTable(await page.table());
    for (const accuracy of accuracies) assert.ok(accuracy >= 96, `${accuracies}`);
    console.log(`simd128: paused and went on, all hashes native, accuracies ${accuracies.join(", ")} %`);

    // At a rate of 10, started at once, only LARC learns.
    const slider = "document.getElementById('rate')";
    await page.evaluate(`${slider}.value = 10, ${slider}.dispatchEvent(new Event('input'))`);
    assert.equal(await page.evaluate("document.body.dataset.state"), "training");
    await page.until("document.body.dataset.state === 'done'");
    await page.settle();
    const [larc, ...others] = checkTable(await page.table());
    assert.ok(larc >= 96 && others.every((accuracy) => accuracy < 50), `${larc}, ${others}`);
    console.log(`simd128 at a rate of 10: LARC ${larc} %, the others ${others.join(", ")} %`);
    assert.equal(await page.evaluate("document.querySelectorAll('#rates .mark').length"), 8);
    assert.deepEqual(page.complaints, []);
}

async function fallback(chromium, url) {
    const page = await Page.open(chromium);
    const here = process.arch === "x64" ? url : `${url}?module=fallback`;
    await page.go(`${here}?epochs=2&start`, "done");
    assert.match(await page.evaluate("document.getElementById('module').textContent"), /fallback\.wasm/);
    const accuracies = checkTable(await page.table());
    assert.deepEqual(page.complaints, []);
    console.log(`fallback: all hashes native, after two epochs ${accuracies.join(", ")} %`);
}

// The same check detects a hash that is not the native one, and so does the page.
async function wrongHash(chromium, url) {
    const page = await Page.open(chromium);
    await page.go(`${url}?epochs=2&rate=0.1&start`, "done");
    const rows = await page.table();
    assert.deepEqual(rows.map((row) => row[5]), ["✓ yes", "✓ yes", "✗ no", "✓ yes"]);
    assert.match(await page.evaluate("document.getElementById('status').textContent"), /not those of the native run/);
    assert.throws(() => checkTable(rows), { name: "AssertionError", message: /SGD/ });
    console.log("a wrong native hash is seen");
}

// The page reports a missing file, an invalid number of epochs, and one without a native run.
async function said(chromium, url) {
    const page = await Page.open(chromium);
    await page.go(`${url}?module=none`, "failed");
    assert.match(await page.evaluate("document.getElementById('status').textContent"), /none\.wasm: 404/);
    await page.go(`${url}?epochs=0`, "failed");
    assert.match(await page.evaluate("document.getElementById('status').textContent"), /epochs are out of range/);
    assert.ok(await page.evaluate("document.getElementById('rate').disabled"));
    await page.go(`${url}?epochs=1&start`, "done");
    assert.match(await page.evaluate("document.getElementById('status').textContent"), /no native run of 1 epochs/);
    assert.deepEqual((await page.table()).map((row) => row[5]), Array(4).fill("not known"));
    console.log("what is missing is said");
}

function wrongSgd(name, content) {
    if (name !== "native.json") return content;
    const native = JSON.parse(content);
    const hashes = native.runs.find(({ epochs }) => epochs === 2).hashes[2];
    const n = native.rates.indexOf(0.1);
    hashes[n] = hashes[n].replace(/.$/, (x) => (x === "0" ? "1" : "0"));
    return JSON.stringify(native);
}

const PICTURES = [
    { name: "wide", width: 1280, height: 1050 },
    { name: "wide-dark", width: 1280, height: 1050, dark: true },
    { name: "narrow", width: 390, height: 2150 },
    { name: "narrow-dark", width: 390, height: 2150, dark: true },
    // For the README.
    { name: "page", width: 980, height: 1200, short: true },
];

// No window is too narrow; with a directory, pictures go there.
async function fits(chromium, url, directory) {
    for (const { name, short, ...window } of PICTURES) {
        const page = await Page.open(chromium, window);
        await page.go(directory ? url : `${url}?epochs=2`, "ready");
        if (directory) {
            await page.evaluate("document.getElementById('play').click()");
            await page.until("document.body.dataset.state === 'done'");
            await page.settle();
            await page.picture(`${directory}/${name}.png`, short && (await page.part("legend", "results")));
        }
        const width = await page.evaluate("document.documentElement.scrollWidth");
        assert.ok(width <= window.width, `${name}: ${width}`);
    }
    console.log("nothing is wider than windows of 1280 and 390");
}

const [option, directory] = process.argv.slice(2);
if (option === "--pictures") {
    await inChromium([], (chromium, url) => fits(chromium, url, directory));
} else {
    await inChromium([], async (chromium, url) => {
        await withSimd(chromium, url);
        await said(chromium, url);
        await fits(chromium, url);
    });
    await inChromium(process.arch === "x64" ? ["--js-flags=--no-enable-sse4-1"] : [], fallback);
    await inChromium([], wrongHash, wrongSgd);
}
