// How the WebAssembly of tests waits: see src/browser.rs.

let isAwake = false;
let alarm = () => {};

export function wake() {
  isAwake = true;
  alarm();
}

/** Suspends the WebAssembly that calls it until `wake` was called. */
export const sleep = new WebAssembly.Suspending(async () => {
  if (!isAwake) await new Promise((resolve) => { alarm = resolve; });
  isAwake = false;
});
