// The CPU path in a thread of its own: a step may take longer than a frame, and the page waits for none.
// Each message is answered by one of the same number, in the order in which they came.

import init, { Data, Device, Session, Settings } from "./wasm/wgrad_web.js";

const ready = init();
let data = null;
const sessions = new Map();

/** What `cpu.js` asks for. */
const CALLS = {
  takeData({ name, classes, trainImages, trainLabels, testImages, testLabels }) {
    const taken = Data.fromParts(name, classes, trainImages, trainLabels, testImages, testLabels);
    data?.free();
    data = taken;
  },
  open(id, options) {
    const device = Device.cpu();
    const settings = Object.assign(new Settings(), options);
    const session = new Session(device, data, settings);
    settings.free();
    device.free();
    sessions.set(id, session);
    return { plan: session.plan, testParts: session.testParts };
  },
  close(id) {
    sessions.get(id)?.free();
    sessions.delete(id);
  },
  async evaluatePart(id, part) {
    const found = await sessions.get(id).evaluatePart(part);
    const { loss, accuracy, examples } = found;
    found.free();
    return { loss, accuracy, examples };
  },
  resume(id, file) {
    sessions.get(id).resume(file);
    return sessions.get(id).steps;
  },
  advance: (id, count) => sessions.get(id).advance(count),
  done: (id) => sessions.get(id).done(),
  losses: (id, count) => sessions.get(id).losses(count),
  classify: (id, images) => sessions.get(id).classify(images),
  firstWeights: (id) => sessions.get(id).firstWeights(),
  save: (id) => sessions.get(id).save(),
  setWeights: (id, file) => sessions.get(id).setWeights(file),
};

self.addEventListener("message", async ({ data: [number, name, ...values] }) => {
  try {
    await ready;
    const answer = await CALLS[name](...values);
    self.postMessage({ number, answer });
  } catch (error) {
    const { name: kind = "Error", message = `${error}` } = error ?? {};
    self.postMessage({ number, error: { name: kind, message } });
  }
});
