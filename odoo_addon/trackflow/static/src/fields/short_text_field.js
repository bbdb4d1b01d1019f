import { Component } from "@odoo/owl";
import { CopyButton } from "@web/core/copy_button/copy_button";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { CharField, charField } from "@web/views/fields/char/char_field";
import { omit } from "@web/core/utils/objects";

/**
 * @param {string} text
 * @param {number} size
 * @returns {string} `text`, with its middle left out where it is longer than `size`
 */
export function shorten(text, size) {
    if (text.length <= size) {
        return text;
    }
    const tail = Math.floor((size - 1) / 2);
    return `${text.slice(0, size - 1 - tail)}…${text.slice(-tail)}`;
}

/** A long text shortened in the middle, whole on hover, with a button that copies it. */
export class ShortTextField extends Component {
    static template = "trackflow.ShortTextField";
    static components = { CharField, CopyButton };
    static props = {
        ...CharField.props,
        size: { type: Number, optional: true },
        copy: { type: Boolean, optional: true },
    };
    static defaultProps = { ...CharField.defaultProps, size: 40, copy: true };

    setup() {
        this.copied = _t("Copied");
    }

    get isMany2one() {
        return this.props.record.fields[this.props.name].type === "many2one";
    }

    get value() {
        const value = this.props.record.data[this.props.name];
        return (this.isMany2one ? value?.display_name : value) || "";
    }

    get short() {
        return shorten(this.value, this.props.size);
    }

    get charProps() {
        return omit(this.props, "size", "copy");
    }
}

export const shortTextField = {
    ...charField,
    component: ShortTextField,
    displayName: _t("Shortened Text"),
    supportedTypes: ["char", "many2one"],
    supportedOptions: [
        { label: _t("Length"), name: "size", type: "number" },
        { label: _t("Copy button"), name: "copy", type: "boolean" },
    ],
    extractProps: (fieldInfo, dynamicInfo) => ({
        ...charField.extractProps(fieldInfo, dynamicInfo),
        size: fieldInfo.options.size,
        copy: fieldInfo.options.copy,
    }),
};

registry.category("fields").add("trackflow_short_text", shortTextField);
