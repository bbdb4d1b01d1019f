import { Component } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { standardFieldProps } from "@web/views/fields/standard_field_props";

const LOOKS = {
    ok: ["fa-check-circle", "text-success", _t("All right")],
    wrong: ["fa-exclamation-circle", "text-danger", _t("Missing")],
    create: ["fa-plus-circle", "text-success", _t("Make")],
    update: ["fa-pencil", "text-info", _t("Change")],
    delete: ["fa-trash", "text-danger", _t("Remove")],
};

/** What a test found, or what preparing a CRM changes: one line each, with what to do. */
export class ReportField extends Component {
    static template = "trackflow.ReportField";
    static props = { ...standardFieldProps, onlyWrong: { type: Boolean, optional: true } };

    get lines() {
        const lines = this.props.record.data[this.props.name] || [];
        return lines.filter((line) => !(this.props.onlyWrong && line.ok)).map((line, key) => {
            const [icon, color, title] = LOOKS[line.verb || (line.ok ? "ok" : "wrong")];
            return { key, icon, color, title, what: line.what, remedy: line.remedy };
        });
    }
}

registry.category("fields").add("trackflow_report", {
    component: ReportField,
    displayName: _t("Report"),
    supportedTypes: ["json"],
    extractProps: ({ options }) => ({ onlyWrong: Boolean(options.only_wrong) }),
});
