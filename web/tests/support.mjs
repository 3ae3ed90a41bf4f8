// A browser with WebGPU, and a server for what it opens.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

/** The root of the workspace. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Milliseconds that anything may take: a GPU in software is slow, on a machine that does other things slower. */
const PATIENCE = 120_000;

const TYPES = {
  ".css": "text/css",
  ".html": "text/html",
  ".js": "text/javascript",
  ".wasm": "application/wasm",
};

/**
 * Serves the files of these directories, of the first that has one, below `path` alone: a page must not
 * depend on where it lies.
 */
export async function serve(directories, path) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    const file = pathname.startsWith(path) ? await find(directories, pathname.slice(path.length) || "index.html") : null;
    if (!file) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
    createReadStream(file).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, "localhost", resolve));
  return {
    url: `http://localhost:${server.address().port}${path}`,
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}

async function find(directories, name) {
  for (const directory of directories) {
    const file = join(directory, name);
    const found = await stat(file).catch(() => null);
    if (found?.isFile()) return file;
  }
  return null;
}

/**
 * A headless browser. On a machine without a GPU its WebGPU is SwiftShader's, a driver in software.
 * `webgpu: false` is a browser without WebGPU.
 */
export function launch({ webgpu = true } = {}) {
  const gpu = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];
  return chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: [
      "--headless=new",
      // Its sandbox needs rights that a container, or root, may not have; it opens nothing but our own pages.
      "--no-sandbox",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-quic",
      "--disable-sync",
      ...(webgpu ? gpu : []),
    ],
  });
}

/** Opens a page; `complaints` collects what it says on the console in anger, and requests to other hosts. */
export async function open(context, url) {
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(`uncaught: ${error.message}`));
  page.on("request", (request) => {
    const { protocol, host } = new URL(request.url());
    const isOurs = host === new URL(url).host || ["blob:", "data:"].includes(protocol);
    if (!isOurs) complaints.push(`a request to ${request.url()}`);
  });
  await page.goto(url);
  return { page, complaints };
}
