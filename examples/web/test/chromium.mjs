// Drives a headless Chromium over a pipe, without any package: commands of its DevTools protocol, and a server for one
// directory.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PROGRAMS = ["/usr/bin/chromium-headless-shell", "/usr/bin/chromium", "/usr/bin/google-chrome"];
const OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--remote-debugging-pipe",
];

export class Chromium {
    #process;
    #profile = mkdtempSync(join(tmpdir(), "chromium-"));
    #waiting = new Map();
    #count = 0;
    #rest = "";
    // Called with each event.
    listener = () => {};

    constructor(...options) {
        const program = process.env.CHROMIUM ?? PROGRAMS.find(existsSync);
        if (program === undefined) throw new Error("there is no Chromium; CHROMIUM may name one");
        const all = [...OPTIONS, ...options, `--user-data-dir=${this.#profile}`];
        this.#process = spawn(program, all, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
        this.#process.on("exit", () => this.#end());
        this.#process.stdio[4].setEncoding("utf8").on("data", (text) => this.#read(text));
    }

    // Messages end with a zero.
    #read(text) {
        const messages = (this.#rest + text).split("\0");
        this.#rest = messages.pop();
        for (const message of messages.map((message) => JSON.parse(message))) {
            const waiting = this.#waiting.get(message.id);
            this.#waiting.delete(message.id);
            if (waiting === undefined) this.listener(message);
            else if (message.error) waiting.reject(new Error(message.error.message));
            else waiting.resolve(message.result);
        }
    }

    #end() {
        for (const { reject } of this.#waiting.values()) reject(new Error("Chromium has ended"));
        this.#waiting.clear();
    }

    send(method, params = {}, sessionId = undefined) {
        const id = ++this.#count;
        this.#process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
        return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    }

    async close() {
        const exit = new Promise((resolve) => this.#process.once("exit", resolve));
        await this.send("Browser.close").catch(() => {});
        await exit;
        for (const pipe of this.#process.stdio.slice(3)) pipe.destroy();
        rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
    }
}

const TYPES = {
    html: "text/html", css: "text/css", js: "text/javascript", json: "application/json", wasm: "application/wasm",
    gz: "application/gzip",
};

// Serves a directory without subdirectories; `change` may alter the file served under a name.
export async function serve(directory, change = (name, content) => content) {
    const server = createServer(async (request, response) => {
        const name = new URL(request.url, "http://localhost").pathname.slice(1) || "index.html";
        try {
            if (!/^[\w.]+$/.test(name)) throw new Error("not a name");
            const content = change(name, await readFile(new URL(name, directory)));
            response.writeHead(200, { "content-type": TYPES[name.split(".").at(-1)] }).end(content);
        } catch {
            response.writeHead(404).end();
        }
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    const close = () => {
        server.close();
        server.closeAllConnections();
    };
    return { url: `http://127.0.0.1:${server.address().port}/`, close };
}
