import { Component, useState } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { useBus } from "@web/core/utils/hooks";
import { standardFieldProps } from "@web/views/fields/standard_field_props";

const SHORT = 5;

/** The options of a connector's kind as a form; a secret can be set and never read. */
export class SettingsField extends Component {
    static template = "trackflow.SettingsField";
    static props = { ...standardFieldProps };

    setup() {
        this.state = useState({ all: false });
        // What was typed, and what the record was given last and does not hold yet.
        this.typed = {};
        this.given = null;
        const { bus } = this.props.record.model;
        useBus(bus, "WILL_SAVE_URGENTLY", () => this.commit());
        useBus(bus, "NEED_LOCAL_CHANGES", ({ detail }) => detail.proms.push(this.commit()));
    }

    get options() {
        return (this.props.record.data.option_list || []).map((option) => ({
            ...option,
            id: `${this.props.id || this.props.name}_${option.name}`,
            value: this.typed[option.name] ?? this.values[option.name] ?? "",
            isRemoved: this.values[option.name] === null,
            placeholder: this.placeholder(option),
        }));
    }

    get values() {
        return this.given || this.props.record.data[this.props.name] || {};
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
        if (this.values[option.name] === null) {
            return _t("Removed when you save");
        }
        if (option.secret && option.is_set) {
            return _t("Set: leave it empty to keep it");
        }
        return option.default === null || option.default === "" ? "" : `${option.default}`;
    }

    isOn(option) {
        return option.value === "" ? option.default : option.value;
    }

    type(option, value) {
        this.typed[option.name] = value;
        this.props.record.model.bus.trigger("FIELD_IS_DIRTY", true);
    }

    change(option, value) {
        this.type(option, value);
        return this.commit();
    }

    async commit() {
        if (!Object.keys(this.typed).length) {
            return;
        }
        const all = Object.entries({ ...this.values, ...this.typed });
        const given = Object.fromEntries(all.filter(([, value]) => value !== ""));
        this.given = given;
        this.typed = {};
        await this.props.record.update({ [this.props.name]: given });
        if (this.given === given) {
            this.given = null;
        }
        this.props.record.model.bus.trigger("FIELD_IS_DIRTY", false);
    }
}

registry.category("fields").add("trackflow_settings", {
    component: SettingsField,
    displayName: _t("Options of a Connector"),
    supportedTypes: ["json"],
    fieldDependencies: [{ name: "option_list", type: "json" }],
});
