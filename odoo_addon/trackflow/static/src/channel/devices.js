import { _t } from "@web/core/l10n/translation";

/** Kinds of devices, as the core tells them. */
export const DEVICES = {
    desktop: { label: _t("Computer"), icon: "fa-desktop" },
    mobile: { label: _t("Phone"), icon: "fa-mobile" },
    tablet: { label: _t("Tablet"), icon: "fa-tablet" },
};
