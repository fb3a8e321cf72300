// Files on their way to the server before their message is: progress, what was refused and why, and taking one back.

import { signal } from "@preact/signals";
import type { JSX } from "preact";
import type { StoredFile } from "../../api/types";
import { formatSize, t } from "../../i18n";
import { api } from "../../state/session";
import { explain, toast } from "../../state/toasts";
import { IconButton } from "../../ui/components";
import { Icon } from "../../ui/icons";

/** Files of one message. */
const MOST = 10;
/** Uploads at once; the server takes four of a user. */
const AT_ONCE = 3;

interface Entry {
  key: number;
  source: File;
  /** From 0 to 1. */
  part: number;
  /** Once the server has it. */
  file: StoredFile | null;
  problem: string | null;
  preview: string | null;
  stop: AbortController;
  running: boolean;
}

let lastKey = 0;

export class Uploads {
  readonly entries = signal<readonly Entry[]>([]);

  add(files: Iterable<File>): void {
    const added = [...files];
    const room = MOST - this.entries.peek().length;
    if (added.length > room) toast(t("too_many_files", { count: MOST }), "error");
    const entries = added.slice(0, Math.max(0, room)).map(
      (source): Entry => ({
        key: ++lastKey,
        source,
        part: 0,
        file: null,
        problem: null,
        preview: /^image\/(png|jpeg|gif|webp)$/.test(source.type) ? URL.createObjectURL(source) : null,
        stop: new AbortController(),
        running: false,
      }),
    );
    this.entries.value = [...this.entries.peek(), ...entries];
    this.next();
  }

  remove(key: number): void {
    const entry = this.entries.peek().find((known) => known.key === key);
    if (entry === undefined) return;
    entry.stop.abort();
    if (entry.preview !== null) URL.revokeObjectURL(entry.preview);
    this.entries.value = this.entries.peek().filter((known) => known.key !== key);
    this.next();
  }

  retry(key: number): void {
    this.change(key, { problem: null, part: 0 });
    this.next();
  }

  clear(): void {
    for (const { key } of this.entries.peek()) this.remove(key);
  }

  /** What is with the server, for a message; nothing is left here. */
  take(): StoredFile[] {
    const files = this.entries.peek().flatMap((entry) => (entry.file === null ? [] : [entry.file]));
    this.clear();
    return files;
  }

  private change(key: number, changed: Partial<Entry>): void {
    this.entries.value = this.entries
      .peek()
      .map((entry) => (entry.key === key ? { ...entry, ...changed } : entry));
  }

  private next(): void {
    const entries = this.entries.peek();
    const free = AT_ONCE - entries.filter((entry) => entry.running).length;
    const waiting = entries.filter(
      (entry) => !entry.running && entry.file === null && entry.problem === null,
    );
    for (const entry of waiting.slice(0, Math.max(0, free))) void this.upload(entry);
  }

  private async upload({ key, source, stop }: Entry): Promise<void> {
    this.change(key, { running: true });
    try {
      const file = await api.upload(source, (part) => this.change(key, { part }), stop.signal);
      this.change(key, { file, part: 1, running: false });
    } catch (error) {
      if (!stop.signal.aborted) this.change(key, { problem: explain(error), running: false });
    }
    this.next();
  }
}

export function Tray({ uploads }: { uploads: Uploads }): JSX.Element | null {
  const entries = uploads.entries.value;
  if (entries.length === 0) return null;
  return (
    <ul class="tray" aria-label={t("attachments")}>
      {entries.map((entry) => (
        <li key={entry.key} class={entry.problem === null ? undefined : "failed"}>
          {entry.preview === null ? (
            <span class="tray-icon">
              <Icon name="file" />
            </span>
          ) : (
            <img src={entry.preview} alt="" />
          )}
          <span class="who">
            <span class="who-name">{entry.source.name}</span>
            {entry.problem !== null ? (
              <span class="field-error" role="alert">
                {entry.problem}{" "}
                <button type="button" class="link" onClick={() => uploads.retry(entry.key)}>
                  {t("try_again")}
                </button>
              </span>
            ) : entry.file !== null ? (
              <span class="who-note">{formatSize(entry.source.size)}</span>
            ) : (
              <progress max={1} value={entry.part} aria-label={t("uploading", { name: entry.source.name })} />
            )}
          </span>
          <IconButton
            icon="close"
            label={t("remove_file", { name: entry.source.name })}
            onClick={() => uploads.remove(entry.key)}
          />
        </li>
      ))}
    </ul>
  );
}
