import { Component, useState } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { standardFieldProps } from "@web/views/fields/standard_field_props";

const SHORT = 5;

/** The options of a connector's kind as a form; a secret can be set and never read. */
export class SettingsField extends Component {
    static template = "trackflow.SettingsField";
    static props = { ...standardFieldProps };

    setup() {
        this.state = useState({ all: false });
    }

    get options() {
        return (this.props.record.data.option_list || []).map((option) => ({
            ...option,
            id: `${this.props.id || this.props.name}_${option.name}`,
            value: this.values[option.name] ?? "",
            placeholder: this.placeholder(option),
        }));
    }

    get values() {
        return this.props.record.data[this.props.name] || {};
    }

    /** What has to be given or was given comes first; what rarely changes is a click away. */
    get shown() {
        const { options } = this;
        if (this.state.all || options.length <= SHORT) {
            return options;
        }
        return options.filter(
            (option, place) => !place || option.required || option.is_set || option.value !== ""
        );
    }

    get hidden() {
        return this.options.length - this.shown.length;
    }

    placeholder(option) {
        if (option.secret && option.is_set) {
            return _t("Set: leave it empty to keep it");
        }
        return option.default === null || option.default === "" ? "" : `${option.default}`;
    }

    isOn(option) {
        return option.value === "" ? option.default : option.value;
    }

    change(option, value) {
        const { [option.name]: _before, ...others } = this.values;
        const given = value === "" ? others : { ...others, [option.name]: value };
        this.props.record.update({ [this.props.name]: given });
    }
}

registry.category("fields").add("trackflow_settings", {
    component: SettingsField,
    displayName: _t("Options of a Connector"),
    supportedTypes: ["json"],
    fieldDependencies: [{ name: "option_list", type: "json" }],
});
