// The few line icons of the client. They carry no meaning of their own: whoever uses one names the control.

import type { JSX } from "preact";

const PATHS = {
  back: "M15 5l-7 7 7 7",
  plus: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  send: "M4 12l16-8-6 16-3-7z",
  mic: "M12 3a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3zM5 11a7 7 0 0 0 14 0M12 18v3",
  micOff:
    "M9 9v2a3 3 0 0 0 4.6 2.5M15 11V6a3 3 0 0 0-5.8-1M5 11a7 7 0 0 0 10.6 6M19 11a7 7 0 0 1-.6 2.8M12 18v3M4 4l16 16",
  camera: "M4 7h9a2 2 0 0 1 2 2v6a2 2 0 0 1-2 2H4a1 1 0 0 1-1-1V8a1 1 0 0 1 1-1zM15 11l6-3v8l-6-3",
  cameraOff:
    "M9 7h4a2 2 0 0 1 2 2v4M15 15.5A2 2 0 0 1 13 17H4a1 1 0 0 1-1-1V8a1 1 0 0 1 1-1h1M15 11l6-3v8l-3-1.5M4 4l16 16",
  phone: "M6 3h3l2 5-2.5 1.5a11 11 0 0 0 6 6L16 13l5 2v3a3 3 0 0 1-3 3A15 15 0 0 1 3 6a3 3 0 0 1 3-3z",
  hangUp:
    "M4.6 15.4l-1.4-1.4a2 2 0 0 1 0-2.8c5-4.4 12.6-4.4 17.6 0a2 2 0 0 1 0 2.8l-1.4 1.4a1.5 1.5 0 0 1-1.9.2l-2.5-1.6v-2.6a11 11 0 0 0-6 0V14l-2.5 1.6a1.5 1.5 0 0 1-1.9-.2z",
  people:
    "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20a6.5 6.5 0 0 1 13 0M16 4.3a3.5 3.5 0 0 1 0 6.4M18 14.2a6.5 6.5 0 0 1 3.5 5.8",
  pin: "M9 4h6l-1 6 3 3H7l3-3zM12 13v7",
  link: "M10 14a4 4 0 0 0 5.7 0l3.1-3.1a4 4 0 0 0-5.7-5.7L12 6.3M14 10a4 4 0 0 0-5.7 0l-3.1 3.1a4 4 0 0 0 5.7 5.7l1.1-1.1",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  down: "M12 5v14M6 13l6 6 6-6",
  expand: "M4 10V4h6M20 14v6h-6M4 4l6 6M20 20l-6-6",
  shrink: "M10 4v6H4M14 20v-6h6M10 10L4 4M14 14l6 6",
  signOut: "M10 4H5a1 1 0 0 0-1 1v14a1 1 0 0 0 1 1h5M15 8l4 4-4 4M19 12H9",
  hash: "M5 9h15M4 15h15M10 4L8 20M16 4l-2 16",
  chat: "M4 5h16v11H9l-5 4z",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
