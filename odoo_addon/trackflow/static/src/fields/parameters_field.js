import { Component } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { standardFieldProps } from "@web/views/fields/standard_field_props";

import { shorten } from "./short_text_field";

/** A URL in a word, with its parameters as chips. */
export class ParametersField extends Component {
    static template = "trackflow.ParametersField";
    static props = { ...standardFieldProps };

    get url() {
        return this.props.record.data[this.props.name] || "";
    }

    get page() {
        return shorten(this.url.split(/[?#]/)[0], 48);
    }

    get parameters() {
        const query = this.url.split("#")[0].split("?").slice(1).join("?");
        return [...new URLSearchParams(query)].map(([name, value], key) => ({
            key,
            text: shorten(value ? `${name}=${value}` : name, 36),
            whole: `${name}=${value}`,
        }));
    }
}

registry.category("fields").add("trackflow_parameters", {
    component: ParametersField,
    displayName: _t("URL with Parameters"),
    supportedTypes: ["char"],
});
