// What the tests call: the names of the parity tests, a run of one, and a compiler for every kernel.

import init, { kernels, names } from "./wgrad_parity.js";

const wasm = await init();
const run = WebAssembly.promising(wasm.run);

window.parity = {
  names: names(),
  /** Resolves when the test of this number has passed. */
  run: (number) => run(number),
  kernels() {
    const words = kernels();
    return Array.from({ length: words.length / 4 }, (_, i) => {
      const [shader, source, entry, constants] = words.slice(4 * i);
      return { shader, source, entry, constants: constants.split(" ").filter(Boolean) };
    });
  },
};
