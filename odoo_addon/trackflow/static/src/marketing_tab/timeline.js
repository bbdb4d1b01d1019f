import { Component, useState } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { formatDateTime } from "@web/core/l10n/dates";

import { channelIcon } from "../channel/channels";
import { DEVICES } from "../channel/devices";
import { shorten } from "../fields/short_text_field";

const { DateTime } = luxon;
const PAGE = 20;

const MILESTONES = {
    first_touch: { label: _t("First touch"), badge: "text-bg-primary", icon: "fa-flag-o" },
    lead: { label: _t("Lead came in"), badge: "text-bg-info", icon: "fa-star" },
    deal: { label: _t("Opportunity"), badge: "text-bg-info", icon: "fa-handshake-o" },
    won: { label: _t("Won"), badge: "text-bg-success", icon: "fa-trophy" },
    lost: { label: _t("Lost"), badge: "text-bg-danger", icon: "fa-times-circle-o" },
};

const CONTACTS = { contact: "fa-user-o" };

function local(text) {
    return DateTime.fromISO(text).setZone("default");
}

/** A journey, newest first, by day; a visit is one row that opens to its clicks. */
export class Timeline extends Component {
    static template = "trackflow.Timeline";
    static props = {
        entries: { type: Array },
        openRecord: { type: Function },
    };

    setup() {
        this.channelIcon = channelIcon;
        this.milestones = MILESTONES;
        this.state = useState({ shown: PAGE, open: {} });
    }

    get days() {
        const days = [];
        for (const entry of this.props.entries.slice(0, this.state.shown)) {
            const moment = local(entry.at);
            const key = moment.toISODate();
            if (days.at(-1)?.key !== key) {
                days.push({
                    key,
                    date: moment.toLocaleString(DateTime.DATE_MED_WITH_WEEKDAY),
                    ago: this.daysAgo(moment),
                    entries: [],
                });
            }
            days.at(-1).entries.push({ ...entry, time: this.time(moment), exact: formatDateTime(moment) });
        }
        return days;
    }

    get hidden() {
        return Math.max(this.props.entries.length - this.state.shown, 0);
    }

    daysAgo(moment) {
        return moment.startOf("day").toRelativeCalendar({ unit: "days" });
    }

    time(moment) {
        return moment.toLocaleString(DateTime.TIME_SIMPLE);
    }

    stepTime(step) {
        return this.time(local(step.at));
    }

    icon(entry) {
        return MILESTONES[entry.kind]?.icon || CONTACTS[entry.kind] || channelIcon(entry.channel);
    }

    tone(entry) {
        return MILESTONES[entry.kind]?.badge || "text-bg-light border";
    }

    device(entry) {
        return DEVICES[entry.device];
    }

    text(entry) {
        if (!MILESTONES[entry.kind]) {
            return shorten(entry.title, 60);
        }
        return entry.milestones.map((name) => MILESTONES[name].label).join(", ");
    }

    origin(entry) {
        return [entry.channel, entry.source].filter(Boolean).join(" · ");
    }

    stepsLabel(entry) {
        return _t("%s steps", entry.steps.length);
    }

    toggle(entry) {
        this.state.open[entry.id] = !this.state.open[entry.id];
    }

    more() {
        this.state.shown += PAGE;
    }
}
