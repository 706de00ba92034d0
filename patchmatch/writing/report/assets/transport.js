// Playback and keys of the transport. A page defines goTo, shownCount, timeAt, and its keys.

function play(on) {
  clearTimeout(state.timer);
  state.timer = 0;
  byId("play").classList.toggle("playing", on);
  byId("play").setAttribute("aria-label", on ? "Pause" : "Play");
  if (!on) return;
  const count = shownCount();
  if (state.position === count - 1) goTo(0);
  const step = async () => {
    const start = performance.now();
    const delay = stepDelay(), skip = Math.max(1, Math.ceil(25 / delay)); // at most 40 per second
    const timer = state.timer;
    await goTo(state.position + skip);
    if (state.timer !== timer) return; // paused meanwhile
    if (state.position >= count - 1) play(false);
    else state.timer = setTimeout(step, Math.max(0, delay * skip - (performance.now() - start)));
  };
  state.timer = setTimeout(step, stepDelay());
}

// Return the milliseconds until the next position: by the times of the frames, else 10 per second.
function stepDelay() {
  const next = Math.min(state.position + 1, shownCount() - 1);
  const step = 1000 * (timeAt(next) - timeAt(state.position));
  return (step > 0 ? clamp(step, 10, 2000) : 100) / Number(byId("speed").value);
}

// Listen to buttons, slider and keys; a toggle clicks the control that it names.
function addTransportListeners(toggles) {
  const range = byId("position");
  range.addEventListener("input", () => goTo(range.valueAsNumber));
  byId("previous").addEventListener("click", () => goTo(state.position - 1));
  byId("next").addEventListener("click", () => goTo(state.position + 1));
  byId("play").addEventListener("click", () => play(!state.timer));
  const steps = {ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity};
  document.addEventListener("keydown", (event) => {
    const control = event.target.closest("input, select, button, summary, a, .scroll");
    const isOn = (selector) => control && control.matches(selector);
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in steps && !isOn("#minScore, select, .scroll")) {
      goTo(state.position + steps[event.key] * (event.shiftKey ? 10 : 1));
    } else if (event.key === " " && !isOn("[type=checkbox], select, button, summary")) {
      play(!state.timer);
    } else if (event.key in toggles && !isOn("select")) {
      byId(toggles[event.key]).click();
    } else {
      return;
    }
    event.preventDefault();
  });
}
