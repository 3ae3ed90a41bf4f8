// The page's interface to the worker. `worker.js` has the WebAssembly, the data sets and the trainings of both engines;
// the page only sends requests. Thus no computation delays a frame of the page.

export class Engine {
  #worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  #asked = new Map();
  #numbers = 0;
  #failure = null;

  constructor() {
    this.#worker.addEventListener("message", ({ data: { number, answer, error } }) => {
      const asked = this.#asked.get(number);
      // After a failure, all requests are already rejected.
      if (!asked) return;
      const { resolve, reject } = asked;
      this.#asked.delete(number);
      if (error) reject(Object.assign(new Error(error.message), { name: error.name }));
      else resolve(answer);
    });
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#failure = new Error(`The thread that does the computation has failed: ${event.message ?? "it did not load"}.`);
      this.#asked.forEach(({ reject }) => reject(this.#failure));
      this.#asked.clear();
    });
    /** Resolves when the worker can compute. Earlier requests wait for that. */
    this.ready = this.#begin();
  }

  async #begin() {
    // Fetched here while the worker starts. If this fails, the worker fails in the same way and reports it.
    const file = new URL("wasm/wgrad_web_bg.wasm", import.meta.url);
    const module = await WebAssembly.compileStreaming(fetch(file)).catch(() => null);
    await this.ask("begin", module);
  }

  /** Resolves to the answer of a call in `worker.js`. Calls begin in the order of the requests. */
  ask(name, ...values) {
    if (this.#failure) return Promise.reject(this.#failure);
    this.#numbers += 1;
    const number = this.#numbers;
    return new Promise((resolve, reject) => {
      this.#asked.set(number, { resolve, reject });
      this.#worker.postMessage([number, name, ...values]);
    });
  }

  /** Opens the GPU's device. */
  async openGpu() {
    const gpu = new Gpu(this, this.#newId());
    await gpu.ask("openGpu");
    return gpu;
  }

  /** Opens a data set from its files, which the worker reads. */
  async openFiles(files) {
    const id = this.#newId();
    return new DataSet(this, id, await this.ask("openFiles", id, files));
  }

  /** Prepares synthetic digits without drawing them. */
  async beginDigits(seed, train, test) {
    const drawing = new Drawing(this, this.#newId());
    await drawing.ask("beginDigits", seed, train, test);
    return drawing;
  }

  /** Makes a training, before its first step, on this device or, if `gpu` is null, on the CPU. */
  async openSession(gpu, data, options) {
    const id = this.#newId();
    return new Session(this, id, await this.ask("openSession", id, gpu?.id ?? null, data.id, options));
  }

  /** Opens the picture in a file, scaled so that its longer side has at most `most` pixels. */
  async openPhoto(file, most) {
    const id = this.#newId();
    return new Photo(this, id, await this.ask("openPhoto", id, file, most));
  }

  /** Paints a picture of `side`×`side` pixels. */
  async paintPhoto(side) {
    const id = this.#newId();
    return new Photo(this, id, await this.ask("paintPhoto", id, side));
  }

  /** Makes the training of a network that learns a photo, with this many levels and pixels per minibatch. */
  async openPhotoSession(gpu, photo, levels, batch) {
    const id = this.#newId();
    return new Session(this, id, await this.ask("openPhotoSession", id, gpu?.id ?? null, photo.id, levels, batch));
  }

  /** Converts a drawing to an image like MNIST's, or to null if there is no ink. */
  asMnist(ink, width) {
    return this.ask("asMnist", ink, width);
  }

  #newId() {
    this.#numbers += 1;
    return this.#numbers;
  }
}

/** An object in the worker's memory. */
class Held {
  constructor(engine, id) {
    Object.assign(this, { engine, id });
  }

  ask(name, ...values) {
    return this.engine.ask(name, this.id, ...values);
  }

  free() {
    this.ask("free").catch(() => {});
  }
}

class Gpu extends Held {
  /** Loses the device, like a driver reset. */
  lose() { return this.ask("loseGpu"); }
}

class DataSet extends Held {
  /** `about`: name, classes, trainCount, testCount; images and labels of the first test digits. */
  constructor(engine, id, about) {
    super(engine, id);
    Object.assign(this, about);
  }
}

class Photo extends Held {
  /** `about`: width, height, and the pixels in bytes of red, green, blue and alpha. */
  constructor(engine, id, about) {
    super(engine, id);
    Object.assign(this, about);
  }
}

class Drawing extends Held {
  /** Draws for this many milliseconds. Resolves to the number of remaining digits. */
  draw(milliseconds) { return this.ask("drawDigits", milliseconds); }

  /** Resolves to the data set of the digits. Call it only once. */
  async finish() {
    return new DataSet(this.engine, this.id, await this.ask("finishDigits"));
  }
}

/** The methods of WebAssembly's own `Session`. `steps` counts steps when they are begun. */
class Session extends Held {
  constructor(engine, id, { plan, testParts }) {
    super(engine, id);
    Object.assign(this, { plan, testParts, steps: 0 });
  }

  /** Begins `count` steps. Resolves when they are done. */
  advance(count) {
    this.steps += count;
    return this.ask("advance", count);
  }

  async resume(file) {
    this.steps = await this.ask("resume", file);
  }

  done() { return this.ask("done"); }
  setWeights(file) { return this.ask("setWeights", file); }
  losses(count) { return this.ask("losses", count); }
  evaluatePart(part) { return this.ask("evaluatePart", part); }
  classify(images) { return this.ask("classify", images); }
  /** The learnt pixels of `count` rows of a photo: first, first + every, … */
  paint(photo, first, every, count) { return this.ask("paint", photo.id, first, every, count); }
  firstWeights() { return this.ask("firstWeights"); }
  save() { return this.ask("save"); }
}
