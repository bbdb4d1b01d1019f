import { Component } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { standardFieldProps } from "@web/views/fields/standard_field_props";

import { channelIcon } from "./channels";

/** A channel as icon and name; with `count_field` as icon and number, for small cards. */
export class ChannelField extends Component {
    static template = "trackflow.ChannelField";
    static props = {
        ...standardFieldProps,
        countField: { type: String, optional: true },
    };

    get channel() {
        return this.props.record.data[this.props.name] || "";
    }

    get icon() {
        return channelIcon(this.channel);
    }

    get count() {
        return this.props.countField && this.props.record.data[this.props.countField];
    }

    get countTitle() {
        return _t("First touch: %(channel)s. Touches: %(count)s", {
            channel: this.channel || _t("unknown"),
            count: this.count,
        });
    }
}

export const channelField = {
    component: ChannelField,
    displayName: _t("Marketing Channel"),
    supportedTypes: ["char"],
    supportedOptions: [
        { label: _t("Number beside the icon"), name: "count_field", type: "field", availableTypes: ["integer"] },
    ],
    extractProps: ({ options }) => ({ countField: options.count_field }),
};

registry.category("fields").add("trackflow_channel", channelField);
