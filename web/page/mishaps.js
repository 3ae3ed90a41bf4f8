// Shows messages about errors, with actions that the visitor can take.

/** Capitalizes the first word of a sentence, unless it is a file name. */
export const capital = (text) => (/^[a-z]+\s/.test(text) ? text[0].toUpperCase() + text.slice(1) : text);

/** Maximum size of a file in bytes. Larger data sets, networks or photos would not fit into a tab's memory. */
const MOST_BYTES = 2 ** 29;

export function checkSize(file) {
  if (file.size <= MOST_BYTES) return;
  const size = Math.round(file.size / 1e6).toLocaleString("en");
  throw new Error(`${file.name} is ${size} MB large: choose a file of at most ${Math.round(MOST_BYTES / 1e6)} MB.`);
}

/**
 * Shows an error to the visitor, and offers an action if one can help. `training` is the current training, if any.
 * `say` sets the status line, `reset` restarts the training, and `goOn` continues it from its last snapshot on a new
 * device.
 */
export function tell(error, notice, { training, say, reset, goOn }) {
  const name = error?.name ?? "Error";
  // Remove the library's advice to programmers.
  const advice = "; for its weights alone, use set_weights or load_weights";
  const message = capital(error?.message ?? `${error}`).replace(advice, "");
  const again = { label: "Reset", act: reset };
  switch (name) {
    case "DeviceLost": {
      const { snapshot, snapshotStep } = training ?? {};
      const from = snapshot ? `from step ${snapshotStep.toLocaleString("en")}` : "from the beginning";
      say("The GPU was lost.");
      notice.show(name, "The browser lost the GPU and its data: its driver was reset or updated, or it "
        + `was unplugged. Training can go on ${from}.`, { label: `Go on ${from}`, act: goOn });
      break;
    }
    case "Diverged":
      say("Training diverged.");
      notice.show(name, message, again);
      break;
    case "OutOfMemory":
      say("The GPU has no memory left.");
      notice.show(name, message, again);
      break;
    case "Plan":
      notice.show(name, message.replace(/ Use Fusion.*/, " Choose another plan."));
      break;
    default:
      notice.show(name, message);
  }
}
