// What one connection receives: the tracks, sorted into the stream of a person and that of a shared screen.

/** `audioLevel` of one source, from 0 to 1, at which somebody counts as speaking is left to the engine. */
interface Source {
  audioLevel?: number;
}

export class Received {
  /** `null` until something comes. */
  main: MediaStream | null = null;
  screen: MediaStream | null = null;
  private readonly cameFrom = new Map<MediaStreamTrack, string>();
  private screenId = "";

  add(track: MediaStreamTrack, streamId: string): void {
    this.cameFrom.set(track, streamId);
    this.place(track, streamId);
  }

  /** The other side names the stream of its screen. */
  sort(screenId: string): void {
    if (screenId === this.screenId) return;
    this.screenId = screenId;
    for (const [track, streamId] of this.cameFrom) this.place(track, streamId);
  }

  /** Of the voice, without waiting for statistics. */
  level(pc: RTCPeerConnection): number {
    let loudest = 0;
    for (const receiver of pc.getReceivers?.() ?? []) {
      if (receiver.track.kind !== "audio" || this.cameFrom.get(receiver.track) === this.screenId) continue;
      const sources: Source[] = receiver.getSynchronizationSources?.() ?? [];
      for (const { audioLevel } of sources) loudest = Math.max(loudest, audioLevel ?? 0);
    }
    return loudest;
  }

  private place(track: MediaStreamTrack, streamId: string): void {
    const isScreen = streamId !== "" && streamId === this.screenId;
    (isScreen ? this.main : this.screen)?.removeTrack(track);
    if (isScreen) {
      this.screen ??= new MediaStream();
      this.screen.addTrack(track);
    } else {
      this.main ??= new MediaStream();
      this.main.addTrack(track);
    }
  }
}
