import { Component } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { formatInteger, formatMonetary, formatPercentage } from "@web/views/fields/formatters";

/** A figure of the dashboard as people read it; `kind` is that of its KPI, a count without one. */
export function formatFigure(value, kind, currencyId) {
    if (value === null) {
        return "–";
    }
    if (kind === "monetary") {
        return formatMonetary(value, { currencyId, humanReadable: Math.abs(value) >= 100000 });
    }
    if (kind === "percentage") {
        return formatPercentage(value, { digits: [0, 1] });
    }
    return formatInteger(value);
}

/** A row of numbers as a thin line without axes. */
class Sparkline extends Component {
    static template = "trackflow.Sparkline";
    static props = { series: { type: Array } };

    get points() {
        const { series } = this.props;
        const highest = Math.max(...series, 1);
        const step = 100 / Math.max(series.length - 1, 1);
        return series.map((value, day) => `${day * step},${22 - (20 * value) / highest}`).join(" ");
    }
}

/** Key figures of a period as cards, each with its change; a card opens the records it counts. */
export class KpiCards extends Component {
    static template = "trackflow.KpiCards";
    static components = { Sparkline };
    static props = {
        kpis: { type: Array },
        currencyId: { type: Number },
        compare: { type: Boolean },
        open: { type: Function },
        cardClass: { type: String, optional: true },
    };
    static defaultProps = { cardClass: "col-6 col-md-4 col-xl" };

    format(value, kind) {
        return formatFigure(value, kind, this.props.currencyId);
    }

    /** How a number changed since the period before, in words a screen reader can say. */
    change(kpi) {
        if (!kpi.previous || kpi.value === null) {
            return null;
        }
        const change = (kpi.value - kpi.previous) / Math.abs(kpi.previous);
        return {
            text: (change > 0 ? "+" : "") + formatPercentage(change, { digits: [0, 0] }),
            title: _t("The period before: %s", this.format(kpi.previous, kpi.format)),
            icon: change > 0 ? "fa-caret-up" : change < 0 ? "fa-caret-down" : "fa-minus",
        };
    }
}
