// The CPU path as the page has it: sessions in a worker, with the methods of the WebAssembly's own `Session`.

/** A thread that computes, and the data set that it has. */
export class Cpu {
  #worker = null;
  #asked = new Map();
  #numbers = 0;
  #data = null;

  /** A training from its beginning. Rejects as the constructor of a `Session` throws. */
  async open(data, options) {
    if (this.#data !== data) await this.#take(data);
    this.#numbers += 1;
    const id = this.#numbers;
    const { plan, testParts } = await this.ask("open", id, options);
    return new CpuSession(this, id, plan, testParts);
  }

  async #take(data) {
    this.#data = null;
    const { name, classes } = data;
    const [trainImages, trainLabels] = [data.trainImages(), data.trainLabels()];
    const [testImages, testLabels] = [data.testImages(data.testCount), data.testLabels(data.testCount)];
    // What is handed over is no copy.
    const arrays = { trainImages, trainLabels, testImages, testLabels };
    const buffers = Object.values(arrays).map((array) => array.buffer);
    await this.#send(buffers, "takeData", [{ name, classes, ...arrays }]);
    this.#data = data;
  }

  /** What a method of `worker.js` answers; they run in the order of the calls. */
  ask(name, ...values) {
    return this.#send([], name, values);
  }

  #send(buffers, name, values) {
    this.#worker ??= this.#begin();
    this.#numbers += 1;
    const number = this.#numbers;
    return new Promise((resolve, reject) => {
      this.#asked.set(number, { resolve, reject });
      this.#worker.postMessage([number, name, ...values], buffers);
    });
  }

  #begin() {
    const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    worker.addEventListener("message", ({ data: { number, answer, error } }) => {
      const { resolve, reject } = this.#asked.get(number);
      this.#asked.delete(number);
      if (error) reject(Object.assign(new Error(error.message), { name: error.name }));
      else resolve(answer);
    });
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      const error = new Error(`The thread that computes has failed: ${event.message ?? "it did not load"}.`);
      this.#asked.forEach(({ reject }) => reject(error));
      this.#asked.clear();
    });
    return worker;
  }
}

class CpuSession {
  #cpu;
  #id;
  #advanced = Promise.resolve();

  constructor(cpu, id, plan, testParts) {
    this.#cpu = cpu;
    this.#id = id;
    Object.assign(this, { plan, testParts, steps: 0 });
  }

  #ask(name, ...values) {
    return this.#cpu.ask(name, this.#id, ...values);
  }

  /** Begins `count` steps; `done` rejects where they fail. */
  advance(count) {
    this.steps += count;
    const before = this.#advanced;
    this.#advanced = this.#ask("advance", count).then(() => before);
    // It is `done` that tells of it.
    this.#advanced.catch(() => {});
  }

  /** Resolves when all steps begun are done. */
  done() {
    return this.#advanced;
  }

  async resume(file) {
    this.steps = await this.#ask("resume", file);
  }

  setWeights(file) { return this.#ask("setWeights", file); }
  losses(count) { return this.#ask("losses", count); }
  evaluatePart(part) { return this.#ask("evaluatePart", part); }
  classify(images) { return this.#ask("classify", images); }
  firstWeights() { return this.#ask("firstWeights"); }
  save() { return this.#ask("save"); }

  free() {
    this.#ask("close").catch(() => {});
  }
}
