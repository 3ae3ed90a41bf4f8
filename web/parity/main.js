// The interface for the browser tests: the names of the parity tests, a function that runs one test, and all kernels.

import init, { kernels, names } from "./wgrad_parity.js";

const wasm = await init();
const run = WebAssembly.promising(wasm.run);

window.parity = {
  names: names(),
  /** Runs the test of this number. Resolves when it has passed. */
  run: (number) => run(number),
  kernels() {
    const words = kernels();
    return Array.from({ length: words.length / 4 }, (_, i) => {
      const [shader, source, entry, constants] = words.slice(4 * i);
      return { shader, source, entry, constants: constants.split(" ").filter(Boolean) };
    });
  },
};
