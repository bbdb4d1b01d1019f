import { useState } from "@odoo/owl";
import { CopyButton } from "@web/core/copy_button/copy_button";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";
import { CharField, charField } from "@web/views/fields/char/char_field";

/** A secret that can be set and never read: typed or generated, shown until it is saved. */
export class SecretField extends CharField {
    static template = "trackflow.SecretField";
    static components = { ...CharField.components, CopyButton };

    setup() {
        super.setup();
        this.orm = useService("orm");
        this.copied = _t("Copied");
        this.state = useState({ generated: "" });
    }

    get value() {
        return this.props.record.data[this.props.name] || "";
    }

    get isGenerated() {
        return this.value && this.value === this.state.generated;
    }

    async generate() {
        const { resModel, data } = this.props.record;
        const secret = await this.orm.call(resModel, "new_secret", [data.connector]);
        this.state.generated = secret;
        await this.props.record.update({ [this.props.name]: secret });
    }
}

registry.category("fields").add("trackflow_secret", {
    ...charField,
    component: SecretField,
    displayName: _t("Secret"),
});
