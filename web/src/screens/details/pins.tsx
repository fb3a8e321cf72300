// Messages that are pinned in a room, each leading to its place.

import type { JSX } from "preact";
import type { Room } from "../../api/types";
import { t } from "../../i18n";
import { api } from "../../state/session";
import { Dialog, Empty, Problem, Spinner } from "../../ui/components";
import { useAsked } from "../../ui/use";
import { FoundMessage } from "../found";

export function Pins({ room, onClose }: { room: Room; onClose: () => void }): JSX.Element {
  const pins = useAsked(() => api.pins(room.id), [room.id]);
  return (
    <Dialog title={t("pinned_messages")} onClose={onClose}>
      {pins.problem !== null && <Problem text={pins.problem} onRetry={pins.reload} />}
      {pins.data === null && pins.problem === null && <Spinner label={t("loading")} />}
      {pins.data?.length === 0 && <Empty icon="pin" title={t("pins_empty")} text={t("pins_empty_text")} />}
      {/* biome-ignore lint/a11y/useKeyWithClickEvents: a link in it that is followed closes it, by keyboard as well */}
      <ul class="found" onClick={onClose}>
        {pins.data?.map((pin) => (
          <FoundMessage key={pin.message.id} message={pin.message}>
            {pin.message.content || t("attachment")}
          </FoundMessage>
        ))}
      </ul>
    </Dialog>
  );
}
