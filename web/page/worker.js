// The worker that does all computation. Only the worker loads the WebAssembly; the data sets, the photos and the
// trainings are in its memory. The page's own thread only draws and never waits. The worker answers each message with a
// message of the same number. Calls start in the order in which they arrive. While one call waits for the GPU or a
// file, others can start.

import { decode, paint } from "./pixels.js";
import init, { Data, Device, Digits, Photo, Session, Settings, asMnist } from "./wasm/wgrad_web.js";

/** Number of test digits that the page shows. */
const SHOWN = 60;

let begin;
const ready = new Promise((resolve) => { begin = resolve; }).then((module) => (
  // If the page could not compile the module, compile it here, which reports the reason.
  init(module ? { module_or_path: module } : undefined)));

/** Maps the ids that the page has assigned to devices, data sets, drawings, photos and sessions. */
const held = new Map();

/** Stores a data set. Returns the properties and test digits that the page shows. */
function takeData(id, data) {
  held.set(id, data);
  const { name, classes, trainCount, testCount } = data;
  return { name, classes, trainCount, testCount, images: data.testImages(SHOWN), labels: data.testLabels(SHOWN) };
}

/** Stores a photo. Returns its size and pixels for the page to show. */
function takePhoto(id, { width, height, rgba }) {
  held.set(id, new Photo(width, rgba));
  return { width, height, rgba };
}

function takeSession(id, session) {
  held.set(id, session);
  return { plan: session.plan, testParts: session.testParts };
}

/** Makes a session with `open`, on the GPU device with the id `gpu`, or on the CPU if `gpu` is null. */
function openOn(gpu, open) {
  if (gpu !== null && !held.has(gpu)) throw new Error(`There is no device with the number ${gpu} any more.`);
  const device = gpu === null ? Device.cpu() : held.get(gpu);
  const session = open(device);
  // If `open` throws, the device is not freed here but by the garbage collector: after a panic, Rust may still borrow
  // it.
  if (gpu === null) device.free();
  return session;
}

/** The calls that `engine.js` requests. */
const CALLS = {
  begin() {},
  free(id) {
    const thing = held.get(id);
    held.delete(id);
    thing?.free();
  },
  async openGpu(id) {
    held.set(id, await Device.gpu());
  },
  loseGpu: (id) => held.get(id).destroy(),
  async openFiles(id, files) {
    const contents = await Promise.all(files.map(async (file) => new Uint8Array(await file.arrayBuffer())));
    return takeData(id, Data.fromFiles(files.map((file) => file.name), contents));
  },
  beginDigits(id, seed, train, test) {
    held.set(id, new Digits(seed, train, test));
  },
  drawDigits(id, milliseconds) {
    const digits = held.get(id);
    const end = performance.now() + milliseconds;
    let remaining = Infinity;
    while (remaining > 0 && performance.now() < end) remaining = digits.draw(50);
    return remaining;
  },
  finishDigits(id) {
    const digits = held.get(id);
    held.delete(id);
    return takeData(id, digits.finish());
  },
  openPhoto: async (id, file, most) => takePhoto(id, await decode(file, most)),
  paintPhoto: (id, side) => takePhoto(id, paint(side)),
  openSession(id, gpu, data, options) {
    const settings = Object.assign(new Settings(), options);
    const session = openOn(gpu, (device) => new Session(device, held.get(data), settings));
    settings.free();
    return takeSession(id, session);
  },
  openPhotoSession(id, gpu, photo, levels, batch) {
    return takeSession(id, openOn(gpu, (device) => Session.ofPhoto(device, held.get(photo), levels, batch)));
  },
  advance(id, count) {
    const session = held.get(id);
    session.advance(count);
    return session.done();
  },
  resume(id, file) {
    held.get(id).resume(file);
    return held.get(id).steps;
  },
  async evaluatePart(id, part) {
    const found = await held.get(id).evaluatePart(part);
    const { loss, accuracy, examples } = found;
    found.free();
    return { loss, accuracy, examples };
  },
  paint: (id, photo, first, every, count) => held.get(id).paint(held.get(photo), first, every, count),
  done: (id) => held.get(id).done(),
  losses: (id, count) => held.get(id).losses(count),
  classify: (id, images) => held.get(id).classify(images),
  firstWeights: (id) => held.get(id).firstWeights(),
  save: (id) => held.get(id).save(),
  setWeights: (id, file) => held.get(id).setWeights(file),
  asMnist: (ink, width) => asMnist(ink, width) ?? null,
};

self.addEventListener("message", async ({ data: [number, name, ...values] }) => {
  try {
    if (name === "begin") begin(...values);
    await ready;
    const answer = await CALLS[name](...values);
    // Transfer arrays instead of copying them, because a network may have 200 MB of weights.
    self.postMessage({ number, answer }, ArrayBuffer.isView(answer) ? [answer.buffer] : []);
  } catch (error) {
    const { name: kind = "Error", message = `${error}` } = error ?? {};
    self.postMessage({ number, error: { name: kind, message } });
  }
});
