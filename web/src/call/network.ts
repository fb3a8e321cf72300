// Notices that this device has come to another network.

/** Not in the typings, and not in Safari or on Firefox's desktop: there `online` alone tells. */
interface Connection extends EventTarget {
  type?: string;
}

/** Calls `onChange` when what was agreed on with others may lead nowhere; yields what ends that. */
export function watchNetwork(onChange: () => void): () => void {
  const connection = (navigator as { connection?: Connection }).connection;
  let type = connection?.type;
  const look = () => {
    // It also tells of every new estimate of speed.
    if (connection?.type === type) return;
    type = connection?.type;
    if (navigator.onLine) onChange();
  };
  window.addEventListener("online", onChange);
  connection?.addEventListener?.("change", look);
  return () => {
    window.removeEventListener("online", onChange);
    connection?.removeEventListener?.("change", look);
  };
}
