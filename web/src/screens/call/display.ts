// Full screen and picture-in-picture, by whichever name the browser has them.

/** What Safari adds; iPhones know full screen for videos alone. */
interface SafariVideo extends HTMLVideoElement {
  webkitEnterFullscreen?: () => void;
  webkitSupportsPresentationMode?: (mode: string) => boolean;
  webkitSetPresentationMode?: (mode: string) => void;
  webkitPresentationMode?: string;
}

const video = document.createElement("video") as SafariVideo;

export const canFullscreen = document.fullscreenEnabled || video.webkitEnterFullscreen !== undefined;

/** Firefox has a button of its own on every video, and no call for pages. */
export const canFloat =
  document.pictureInPictureEnabled === true ||
  video.webkitSupportsPresentationMode?.("picture-in-picture") === true;

export async function toggleFullscreen(
  tile: HTMLElement | null,
  inside: SafariVideo | null = null,
): Promise<void> {
  if (document.fullscreenElement !== null && document.fullscreenElement !== undefined) {
    await document.exitFullscreen();
  } else if (document.fullscreenEnabled) await tile?.requestFullscreen();
  else inside?.webkitEnterFullscreen?.();
}

export async function floatVideo(element: SafariVideo | null): Promise<void> {
  if (element === null) return;
  if (document.pictureInPictureEnabled) {
    if (document.pictureInPictureElement === element) await document.exitPictureInPicture();
    else await element.requestPictureInPicture();
  } else {
    const floats = element.webkitPresentationMode === "picture-in-picture";
    element.webkitSetPresentationMode?.(floats ? "inline" : "picture-in-picture");
  }
}
