// Entering a room by an invitation link.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { t } from "../i18n";
import { navigate, roomPath } from "../router";
import { putRoom } from "../state/rooms";
import { api } from "../state/session";
import { explain } from "../state/toasts";
import { Empty, Spinner } from "../ui/components";

export function JoinScreen({ uuid }: { uuid: string }): JSX.Element {
  const [problem, setProblem] = useState<string | null>(null);
  const [attempt, setAttempt] = useState(0);

  // `attempt` grows with the wish to try again.
  useEffect(() => {
    let left = false;
    setProblem(null);
    api.joinByInvitation(uuid).then(
      (room) => {
        putRoom(room);
        if (!left) navigate(roomPath(room.id), true);
      },
      (error) => {
        if (!left) setProblem(explain(error));
      },
    );
    return () => {
      left = true;
    };
  }, [uuid, attempt]);

  if (problem === null) return <Spinner label={t("joining_room")} />;
  return (
    <Empty icon="link" title={t("join_failed")} text={problem}>
      <div class="dialog-actions">
        <a class="button" href="#/">
          {t("to_rooms")}
        </a>
        <button type="button" class="button primary" onClick={() => setAttempt(attempt + 1)}>
          {t("try_again")}
        </button>
      </div>
    </Empty>
  );
}
