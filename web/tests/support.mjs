// A browser with WebGPU, and a server for its pages.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

/** Path of the workspace's root directory. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Timeout of a wait in milliseconds. It is long, because a software GPU is slow, and even slower on a busy machine. */
const PATIENCE = 120_000;

const TYPES = {
  ".css": "text/css",
  ".html": "text/html",
  ".js": "text/javascript",
  ".wasm": "application/wasm",
};

/**
 * Serves the files of these directories. If several directories have a file, serves the file of the first one. Serves
 * only URLs below `path`, because a page must work at any location.
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
 * Launches a headless browser. On a machine without a GPU, its WebGPU is SwiftShader, a software driver. With
 * `webgpu: false`, the browser has no WebGPU.
 */
export function launch({ webgpu = true } = {}) {
  const gpu = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];
  return chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: [
      "--headless=new",
      // The sandbox needs rights that are missing in some containers and for root. The browser opens only our own
      // pages.
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

/** Opens a page. `complaints` collects its errors and warnings on the console, and its requests to other hosts. */
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
