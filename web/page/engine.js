// The thread that computes, as the page has it: `worker.js` has the WebAssembly, the data sets and the trainings of both
// engines, and the page only asks. So nothing that it computes keeps the page from a frame.

export class Engine {
  #worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  #asked = new Map();
  #numbers = 0;
  #failure = null;

  constructor() {
    this.#worker.addEventListener("message", ({ data: { number, answer, error } }) => {
      const asked = this.#asked.get(number);
      // After a failure nobody waits any more.
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
    /** Resolves when it computes; what is asked before waits for that. */
    this.ready = this.#begin();
  }

  async #begin() {
    // Here it is fetched while the thread begins. What goes wrong with that is met again there, and told.
    const file = new URL("wasm/wgrad_web_bg.wasm", import.meta.url);
    const module = await WebAssembly.compileStreaming(fetch(file)).catch(() => null);
    await this.ask("begin", module);
  }

  /** What a call of `worker.js` answers; they run in the order in which they are asked. */
  ask(name, ...values) {
    if (this.#failure) return Promise.reject(this.#failure);
    this.#numbers += 1;
    const number = this.#numbers;
    return new Promise((resolve, reject) => {
      this.#asked.set(number, { resolve, reject });
      this.#worker.postMessage([number, name, ...values]);
    });
  }

  /** The GPU's device. */
  async openGpu() {
    const gpu = new Gpu(this, this.#newId());
    await gpu.ask("openGpu");
    return gpu;
  }

  /** A data set from its files, which the thread reads. */
  async openFiles(files) {
    const id = this.#newId();
    return new DataSet(this, id, await this.ask("openFiles", id, files));
  }

  /** Synthetic digits, none of them drawn yet. */
  async beginDigits(seed, train, test) {
    const drawing = new Drawing(this, this.#newId());
    await drawing.ask("beginDigits", seed, train, test);
    return drawing;
  }

  /** A training from its beginning, on this device or, where that is null, on the CPU. */
  async openSession(gpu, data, options) {
    const id = this.#newId();
    return new Session(this, id, await this.ask("openSession", id, gpu?.id ?? null, data.id, options));
  }

  /** The picture in a file, scaled so that its longer side has at most so many pixels. */
  async openPhoto(file, most) {
    const id = this.#newId();
    return new Photo(this, id, await this.ask("openPhoto", id, file, most));
  }

  /** A painted picture of so many pixels a side. */
  async paintPhoto(side) {
    const id = this.#newId();
    return new Photo(this, id, await this.ask("paintPhoto", id, side));
  }

  /** The training of a network that learns a photo, with so many levels and pixels in a minibatch. */
  async openPhotoSession(gpu, photo, levels, batch) {
    const id = this.#newId();
    return new Session(this, id, await this.ask("openPhotoSession", id, gpu?.id ?? null, photo.id, levels, batch));
  }

  /** A drawing as MNIST's images are, or null where there is no ink. */
  asMnist(ink, width) {
    return this.ask("asMnist", ink, width);
  }

  #newId() {
    this.#numbers += 1;
    return this.#numbers;
  }
}

/** Something in the thread's memory. */
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
  /** Loses it, as a driver that is reset does. */
  lose() { return this.ask("loseGpu"); }
}

class DataSet extends Held {
  /** `about`: name, classes, trainCount, testCount; images and labels of its first test digits. */
  constructor(engine, id, about) {
    super(engine, id);
    Object.assign(this, about);
  }
}

class Photo extends Held {
  /** `about`: width, height, and its pixels in bytes of red, green, blue and alpha. */
  constructor(engine, id, about) {
    super(engine, id);
    Object.assign(this, about);
  }
}

class Drawing extends Held {
  /** Draws for so many milliseconds; tells how many digits remain. */
  draw(milliseconds) { return this.ask("drawDigits", milliseconds); }

  /** The data set that they are; to be called once. */
  async finish() {
    return new DataSet(this.engine, this.id, await this.ask("finishDigits"));
  }
}

/** The methods of WebAssembly's own `Session`; steps are counted when they are begun. */
class Session extends Held {
  constructor(engine, id, { plan, testParts }) {
    super(engine, id);
    Object.assign(this, { plan, testParts, steps: 0 });
  }

  /** Begins `count` steps; resolves when they are done. */
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
  /** The pixels that are learnt of `count` of a photo's rows: first, first + every… */
  paint(photo, first, every, count) { return this.ask("paint", photo.id, first, every, count); }
  firstWeights() { return this.ask("firstWeights"); }
  save() { return this.ask("save"); }
}
