// What is attached to a message: pictures in a grid and whole in the viewer, sound and video to be played, other files to
// be saved.

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Message, StoredFile } from "../../api/types";
import { formatSize, t } from "../../i18n";
import type { Chat } from "../../state/chat";
import { IconButton } from "../../ui/components";
import { Icon } from "../../ui/icons";

/** Pixels: the largest that a picture is in the list. */
const BOX = { width: 400, height: 320 };

const isPicture = (file: StoredFile): boolean => file.width !== null && file.height !== null;

/** The size at which a picture is shown, known before it is here, so that nothing moves when it comes. */
function fitted(file: StoredFile): { width: number; height: number } {
  const [width, height] = [file.width ?? 1, file.height ?? 1];
  const scale = Math.min(1, BOX.width / width, BOX.height / height);
  return { width: Math.max(48, Math.round(width * scale)), height: Math.max(48, Math.round(height * scale)) };
}

export function Files({ message, chat }: { message: Message; chat: Chat }): JSX.Element {
  const [shown, show] = useState<number | null>(null);
  const files = message.attachments.map((attachment) => attachment.file);
  const pictures = files.filter(isPicture);
  const others = files.filter((file) => !isPicture(file));
  return (
    <div class="files">
      {pictures.length > 0 && (
        <div class="pictures">
          {pictures.map((file, index) => (
            <Picture
              key={file.id}
              file={file}
              alone={pictures.length === 1}
              onOpen={() => show(index)}
              onBroken={() => void chat.refreshFiles(message)}
            />
          ))}
        </div>
      )}
      {others.map((file) => (
        <OtherFile key={file.id} file={file} />
      ))}
      {shown !== null && pictures[shown] !== undefined && (
        <Viewer pictures={pictures} at={shown} onMove={show} onClose={() => show(null)} />
      )}
    </div>
  );
}

function Picture(props: {
  file: StoredFile;
  alone: boolean;
  onOpen: () => void;
  onBroken: () => void;
}): JSX.Element {
  const { file } = props;
  const { width, height } = props.alone ? fitted(file) : { width: 180, height: 180 };
  const tried = useRef(false);
  // Moving ones lose their movement in a thumbnail.
  const src = file.content_type === "image/gif" ? file.file : (file.thumbnail_url ?? file.file);
  return (
    <button
      type="button"
      class="picture"
      style={{ width: `${width}px`, aspectRatio: `${width} / ${height}` }}
      aria-label={t("open_picture", { name: file.name })}
      onClick={props.onOpen}
    >
      <img
        src={src}
        alt=""
        loading="lazy"
        decoding="async"
        onError={() => {
          if (tried.current) return;
          tried.current = true;
          props.onBroken();
        }}
      />
    </button>
  );
}

function OtherFile({ file }: { file: StoredFile }): JSX.Element {
  const kind = file.content_type.split("/")[0];
  return (
    <div class="other-file">
      <a class="row action" href={file.file} download={file.name} target="_blank" rel="noopener noreferrer">
        <Icon name="file" />
        <span class="who">
          <span class="who-name">{file.name}</span>
          <span class="who-note">{formatSize(file.size)}</span>
        </span>
        <Icon name="download" />
      </a>
      {/* biome-ignore lint/a11y/useMediaCaption: users' own recordings have no captions */}
      {kind === "audio" && <audio controls preload="none" src={file.file} aria-label={file.name} />}
      {kind === "video" && (
        // biome-ignore lint/a11y/useMediaCaption: users' own recordings have no captions
        <video controls preload="metadata" playsInline src={file.file} aria-label={file.name} />
      )}
    </div>
  );
}

function Viewer(props: {
  pictures: readonly StoredFile[];
  at: number;
  onMove: (to: number) => void;
  onClose: () => void;
}): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const [whole, setWhole] = useState(false);
  const { at, pictures } = props;
  const file = pictures[at];
  useEffect(() => dialog.current?.showModal(), []);
  const step = (by: number) => {
    if (pictures[at + by] === undefined) return;
    setWhole(false);
    props.onMove(at + by);
  };
  return (
    <dialog
      ref={dialog}
      class="viewer"
      aria-label={file?.name}
      onClose={props.onClose}
      onKeyDown={(event) => {
        if (event.key === "ArrowLeft") step(-1);
        if (event.key === "ArrowRight") step(1);
      }}
    >
      <header>
        <span class="who">
          <span class="who-name">{file?.name}</span>
          <span class="who-note">
            {pictures.length > 1 && `${t("picture_of", { at: at + 1, count: pictures.length })} · `}
            {formatSize(file?.size ?? 0)}
          </span>
        </span>
        <a
          class="icon-button"
          href={file?.file}
          download={file?.name}
          target="_blank"
          rel="noopener noreferrer"
          aria-label={t("download")}
          title={t("download")}
        >
          <Icon name="download" />
        </a>
        <IconButton icon="close" label={t("close")} onClick={() => dialog.current?.close()} />
      </header>
      <button
        type="button"
        class={whole ? "viewer-stage whole" : "viewer-stage"}
        aria-label={t(whole ? "fit_picture" : "enlarge_picture")}
        onClick={() => setWhole(!whole)}
      >
        <img src={file?.file} alt={file?.name ?? ""} />
      </button>
      {at > 0 && (
        <span class="viewer-step before">
          <IconButton icon="back" label={t("previous_picture")} onClick={() => step(-1)} />
        </span>
      )}
      {at < pictures.length - 1 && (
        <span class="viewer-step after">
          <IconButton icon="next" label={t("next_picture")} onClick={() => step(1)} />
        </span>
      )}
    </dialog>
  );
}
