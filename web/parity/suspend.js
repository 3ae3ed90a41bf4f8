// `sleep` and `wake`, by which the tests' WebAssembly waits: see src/browser.rs.

let isAwake = false;
let alarm = () => {};

export function wake() {
  isAwake = true;
  alarm();
}

/** Suspends the WebAssembly that calls it until `wake` is called. */
export const sleep = new WebAssembly.Suspending(async () => {
  if (!isAwake) await new Promise((resolve) => { alarm = resolve; });
  isAwake = false;
});
