// Who relays, in words.

import type { RelayOwner } from "../../api/types";
import { t } from "../../i18n";

export function ownerName({ kind, name, id }: RelayOwner): string {
  if (name === null) return t("owner_gone", { id });
  if (kind === "secret") return t("owner_secret", { name });
  return kind === "device" ? t("owner_device", { name }) : name;
}
