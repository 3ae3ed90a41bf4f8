// The page's interface to the worker. The WebAssembly, the data sets and the trainings are in the worker (`worker.js`),
// and the page only sends requests. So no computation delays a frame of the page.

export class Engine {
  #worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  #asked = new Map();
  #numbers = 0;
  #failure = null;

  constructor() {
    this.#worker.addEventListener("message", ({ data: { number, answer, error } }) => {
      const asked = this.#asked.get(number);
      // After the worker has failed, all requests are already rejected.
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
    /** Resolves when the worker has loaded the WebAssembly. The worker answers earlier requests after that. */
    this.ready = this.#begin();
  }

  async #begin() {
    // Compile the module here while the worker starts. If this fails, the worker tries it again and reports the error.
    const file = new URL("wasm/wgrad_web_bg.wasm", import.meta.url);
    const module = await WebAssembly.compileStreaming(fetch(file)).catch(() => null);
    await this.ask("begin", module);
  }

  /** Requests the call `name` of `worker.js`, and resolves to its answer. Calls start in the order of the requests. */
  ask(name, ...values) {
    if (this.#failure) return Promise.reject(this.#failure);
    this.#numbers += 1;
    const number = this.#numbers;
    return new Promise((resolve, reject) => {
      this.#asked.set(number, { resolve, reject });
      this.#worker.postMessage([number, name, ...values]);
    });
  }

  /** Opens the device of the GPU. */
  async openGpu() {
    const gpu = new Gpu(this, this.#newId());
    await gpu.ask("openGpu");
    return gpu;
  }

  /** Opens a data set. The worker reads the files. */
  async openFiles(files) {
    const id = this.#newId();
    return new DataSet(this, id, await this.ask("openFiles", id, files));
  }

  /** Prepares synthetic digits, but draws none of them yet. */
  async beginDigits(seed, train, test) {
    const drawing = new Drawing(this, this.#newId());
    await drawing.ask("beginDigits", seed, train, test);
    return drawing;
  }

  /** Makes a training on the GPU device `gpu` or, if `gpu` is null, on the CPU. It has not taken any step yet. */
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

  /** Makes the training of a network that learns a photo, with the given hash grid levels and pixels per minibatch. */
  async openPhotoSession(gpu, photo, levels, batch) {
    const id = this.#newId();
    return new Session(this, id, await this.ask("openPhotoSession", id, gpu?.id ?? null, photo.id, levels, batch));
  }

  /** Converts a drawing to an image like those of MNIST. Resolves to null if there is no ink. */
  asMnist(ink, width) {
    return this.ask("asMnist", ink, width);
  }

  #newId() {
    this.#numbers += 1;
    return this.#numbers;
  }
}

/** A handle of an object in the worker's memory. */
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
  /** Destroys the device, with the same effect as a driver reset. */
  lose() { return this.ask("loseGpu"); }
}

class DataSet extends Held {
  /** `about` has name, classes, trainCount and testCount, and the images and labels of the first test digits. */
  constructor(engine, id, about) {
    super(engine, id);
    Object.assign(this, about);
  }
}

class Photo extends Held {
  /** `about` has width and height, and the pixels as bytes of red, green, blue and alpha. */
  constructor(engine, id, about) {
    super(engine, id);
    Object.assign(this, about);
  }
}

class Drawing extends Held {
  /** Draws digits for about this many milliseconds. Resolves to the number of digits that are not drawn yet. */
  draw(milliseconds) { return this.ask("drawDigits", milliseconds); }

  /** Draws the remaining digits, and resolves to the data set. Call it only once. */
  async finish() {
    return new DataSet(this.engine, this.id, await this.ask("finishDigits"));
  }
}

/** A handle of the WebAssembly's `Session`, with its methods. `steps` counts a step as soon as it is requested. */
class Session extends Held {
  constructor(engine, id, { plan, testParts }) {
    super(engine, id);
    Object.assign(this, { plan, testParts, steps: 0 });
  }

  /** Requests `count` steps. Resolves when they are done. */
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
  /** Resolves to the predicted pixels of `count` rows of a photo: rows first, first + every, … */
  paint(photo, first, every, count) { return this.ask("paint", photo.id, first, every, count); }
  firstWeights() { return this.ask("firstWeights"); }
  save() { return this.ask("save"); }
}
