// The device that trains: the visitor's GPU through WebGPU, or the CPU. All views share one choice and one device.

const BROWSERS = "WebGPU is in Chrome and Edge from version 113 (on Android 121), in Safari from 26, and in "
  + "Firefox from 141 on Windows and 145 on Macs with Apple silicon.";

export class Compute {
  /** `select` is the element with the options `gpu` and `cpu`. The element `name` shows which device is used. */
  constructor(engine, { select, name, notice }) {
    Object.assign(this, { engine, select, name, notice });
    this.gpu = null; // the GPU's name, whether it is a software driver, and its device as soon as it is open
  }

  /** Searches for a GPU. If there is none, shows the reason, and that the CPU is used. */
  async find() {
    if (!navigator.gpu) {
      this.#without(window.isSecureContext
        ? "This browser has no WebGPU, or it is switched off."
        : "Browsers offer WebGPU only to pages from https or from localhost.");
      return;
    }
    let adapter;
    try {
      adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
    } catch (error) {
      this.#without(`The GPU could not be opened: ${error.message}.`);
      return;
    }
    if (!adapter) {
      this.#without("This browser supports WebGPU, but offers no GPU on this machine.");
      return;
    }
    const { description, device, architecture, vendor, isFallbackAdapter } = adapter.info ?? {};
    this.gpu = {
      name: description || [vendor, architecture, device].filter(Boolean).join(" ") || "GPU",
      isSoftware: isFallbackAdapter ?? adapter.isFallbackAdapter ?? false,
      device: null,
    };
    if (this.gpu.isSoftware) this.#preferCpu();
    else await this.#open();
  }

  /** Selects the CPU, because it is faster than a software driver. The visitor can still choose the GPU. */
  #preferCpu() {
    const [gpu, cpu] = ["gpu", "cpu"].map((value) => this.select.querySelector(`[value=${value}]`));
    gpu.textContent = "GPU, a software driver: slower";
    cpu.defaultSelected = cpu.selected = true;
  }

  #without(reason) {
    this.gpu = null;
    this.select.value = "cpu";
    this.select.querySelector("[value=gpu]").disabled = true;
    this.notice.show("NoWebGPU", `${reason} Training runs on the CPU instead, in WebAssembly. ${BROWSERS}`);
    this.tell(false);
  }

  /** Whether the visitor has chosen the GPU, and it is available. */
  get isOnGpu() {
    return this.select.value === "gpu" && this.gpu !== null;
  }

  /**
   * Calls `begin({ gpu, isSoftware })` and returns its result. `gpu` is null if the CPU is chosen, or if the GPU cannot
   * be opened. If `begin` fails because the device was lost before, opens a new device and calls `begin` once more.
   * Only one call may run at a time.
   */
  async use(wantsGpu, begin) {
    for (const isLast of [false, true]) {
      const gpu = wantsGpu ? await this.#open() : null;
      try {
        return await begin({ gpu, isSoftware: gpu !== null && this.gpu.isSoftware });
      } catch (error) {
        if (error?.name !== "DeviceLost") throw error;
        gpu.free();
        this.gpu.device = null;
        if (isLast) throw error;
      }
    }
  }

  /** Opens the GPU's device. Returns null if the CPU must be used instead. */
  async #open() {
    if (!this.gpu) return null;
    try {
      this.gpu.device ??= await this.engine.openGpu();
    } catch (error) {
      this.#without(`The GPU could not be opened: ${error.message}.`);
    }
    return this.gpu?.device ?? null;
  }

  /** Shows on the page which device is used: the GPU or the CPU. */
  tell(isGpu) {
    const { gpu } = this;
    const isOnGpu = isGpu && gpu !== null;
    const text = !isOnGpu
      ? `CPU, in WebAssembly${gpu?.isSoftware ? ": the GPU here is a software driver" : ""}`
      : gpu.isSoftware ? `${gpu.name}, a software driver: the CPU is faster` : gpu.name;
    if (this.name.textContent !== text) this.name.textContent = text;
    document.documentElement.dataset.device = isOnGpu ? "gpu" : "cpu";
  }
}
