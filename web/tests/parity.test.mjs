// Tests every kernel of the crate in a browser: the browser's shader compiler compiles it, and tests/parity compares it
// with its formula.

import assert from "node:assert/strict";
import { after, test } from "node:test";

import { launch, open, serve, ROOT } from "./support.mjs";

const server = await serve([`${ROOT}/target/parity`, `${ROOT}/web/parity`], "/parity/");
const browser = await launch();
after(async () => {
  await browser.close();
  await server.close();
});

let { page, complaints } = await ready();

/** Opens a page and waits until its WebAssembly is loaded. */
async function ready() {
  const opened = await open(browser, server.url);
  await opened.page.waitForFunction(() => window.parity);
  return opened;
}

const kernels = await page.evaluate(() => window.parity.kernels());
const names = await page.evaluate(() => window.parity.names);
assert.ok(kernels.length > 0 && names.length > 0);

/** Compiles a kernel on a device with WebGPU's default limits. Returns all errors and warnings of the browser. */
async function compile({ source, entry, constants }) {
  const adapter = await navigator.gpu.requestAdapter();
  window.device ??= await adapter.requestDevice();
  const { device } = window;
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code: source });
  const { messages } = await module.getCompilationInfo();
  const said = messages.map(({ type, lineNum, linePos, message }) => `${type} at ${lineNum}:${linePos}: ${message}`);
  // The values of the constants do not matter here, except the number of layers. 8 is the largest number, so the
  // kernel keeps the code of all layers.
  const sizes = Object.fromEntries(constants.map((name) => [name, 8]));
  const pipeline = { layout: "auto", compute: { module, entryPoint: entry, constants: sizes } };
  await device.createComputePipelineAsync(pipeline).catch((error) => said.push(error.message));
  const error = await device.popErrorScope();
  if (error) said.push(error.message);
  return said;
}

for (const kernel of kernels) {
  test(`${kernel.shader}::${kernel.entry} compiles without a word`, async () => {
    assert.deepEqual(await page.evaluate(compile, kernel), []);
  });
}

for (const [number, name] of names.entries()) {
  test(name, async () => {
    try {
      await page.evaluate((each) => window.parity.run(each), number);
    } catch (error) {
      // The console has the panic's message. The WebAssembly instance has ended, so open a new page for the next test.
      const said = complaints.join("\n");
      await page.close();
      ({ page, complaints } = await ready());
      assert.fail(said || error.message);
    }
    assert.deepEqual(complaints, []);
  });
}
