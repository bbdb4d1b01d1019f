import { Component } from "@odoo/owl";
import { CopyButton } from "@web/core/copy_button/copy_button";
import { Dialog } from "@web/core/dialog/dialog";
import { formatDateTime } from "@web/core/l10n/dates";
import { _t } from "@web/core/l10n/translation";
import { formatMonetary, formatPercentage } from "@web/views/fields/formatters";

const { DateTime } = luxon;

/** How one model splits one deal, touch by touch, so that anyone can check it. */
export class ReceiptDialog extends Component {
    static template = "trackflow.ReceiptDialog";
    static components = { CopyButton, Dialog };
    static props = {
        model: { type: Object },
        value: { type: Number },
        currencyId: { type: Number },
        close: { type: Function },
    };

    setup() {
        this.copied = _t("Copied");
    }

    get title() {
        return _t("Why? %s", this.props.model.name);
    }

    when(credit) {
        return credit.at ? formatDateTime(DateTime.fromISO(credit.at).setZone("default")) : "";
    }

    what(credit) {
        return [credit.channel, credit.source, credit.medium, credit.campaign]
            .filter(Boolean)
            .join(" · ");
    }

    percent(weight) {
        return formatPercentage(weight, { digits: [0, 2] });
    }

    money(value) {
        return formatMonetary(value, { currencyId: this.props.currencyId });
    }
}
