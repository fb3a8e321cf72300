// The sound of a call that rings: two soft notes, again and again, until it is stopped.

import { audioContext } from "./level";

const EVERY_MS = 2_800;

/** Silent where the browser wants the user to press something first. */
export function startRinging(): () => void {
  const play = () => {
    const context = audioContext();
    navigator.vibrate?.([300, 150, 300]);
    if (context.state !== "running") return;
    [
      [659.25, 0],
      [880, 0.22],
      [659.25, 0.7],
      [880, 0.92],
    ].forEach(([frequency = 0, after = 0]) => {
      const at = context.currentTime + after;
      const tone = context.createOscillator();
      const gain = context.createGain();
      tone.type = "triangle";
      tone.frequency.value = frequency;
      gain.gain.setValueAtTime(0, at);
      gain.gain.linearRampToValueAtTime(0.18, at + 0.03);
      gain.gain.exponentialRampToValueAtTime(0.001, at + 0.4);
      tone.connect(gain).connect(context.destination);
      tone.start(at);
      tone.stop(at + 0.45);
    });
  };
  play();
  const timer = setInterval(play, EVERY_MS);
  return () => {
    clearInterval(timer);
    navigator.vibrate?.(0);
  };
}
