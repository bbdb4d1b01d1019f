import { Component } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { formatDateTime } from "@web/core/l10n/dates";
import { registry } from "@web/core/registry";
import { standardFieldProps } from "@web/views/fields/standard_field_props";

const { DateTime } = luxon;
const RECENT_DAYS = 7;

/**
 * @param {DateTime} moment
 * @returns {string} relative while that tells more than the date does
 */
export function relative(moment) {
    if (DateTime.now().diff(moment, "days").days < RECENT_DAYS) {
        return moment.toRelative();
    }
    return moment.toLocaleString(DateTime.DATE_MED);
}

/** A moment in the reader's zone, relative when recent, exact on hover. */
export class RelativeTimeField extends Component {
    static template = "trackflow.RelativeTimeField";
    static props = { ...standardFieldProps };

    get value() {
        return this.props.record.data[this.props.name];
    }

    get text() {
        return this.value ? relative(this.value) : "";
    }

    get exact() {
        return this.value ? formatDateTime(this.value) : "";
    }
}

registry.category("fields").add("trackflow_relative_time", {
    component: RelativeTimeField,
    displayName: _t("Relative Time"),
    supportedTypes: ["datetime"],
});

/** A moment at which a job does something: once it has come, the job is about to run. */
export class DueTimeField extends RelativeTimeField {
    get text() {
        return this.value && this.value <= DateTime.now() ? _t("soon") : super.text;
    }
}

registry.category("fields").add("trackflow_due_time", {
    component: DueTimeField,
    displayName: _t("Due Time"),
    supportedTypes: ["datetime"],
});

/** Seconds as people say them. */
export class DurationField extends Component {
    static template = "trackflow.DurationField";
    static props = { ...standardFieldProps };

    get text() {
        const seconds = this.props.record.data[this.props.name] || 0;
        if (seconds < 60) {
            return seconds ? _t("%s s", seconds) : "";
        }
        const minutes = Math.round(seconds / 60);
        if (minutes < 60) {
            return _t("%s min", minutes);
        }
        return _t("%(hours)s h %(minutes)s min", {
            hours: Math.floor(minutes / 60),
            minutes: minutes % 60,
        });
    }
}

registry.category("fields").add("trackflow_duration", {
    component: DurationField,
    displayName: _t("Duration"),
    supportedTypes: ["integer"],
});
