import { Component, useState } from "@odoo/owl";
import { cookie } from "@web/core/browser/cookie";
import { getColor } from "@web/core/colors/colors";
import { useService } from "@web/core/utils/hooks";
import { formatMonetary, formatPercentage } from "@web/views/fields/formatters";

import { channelIcon, PALE } from "../channel/channels";
import { ReceiptDialog } from "./receipt_dialog";

/** What a piece of the bar stands for: touches of one channel and campaign are one piece. */
function pieceKey(credit) {
    return `${credit.channel}\n${credit.campaign}\n${credit.source}`;
}

/** Whether a touch earns this credit; what no touch earns stays unattributed. */
function isAttributed(credit) {
    return Boolean(credit.at);
}

/** A deal's value as a bar in coloured pieces, under one model or under all. */
export class Credits extends Component {
    static template = "trackflow.Credits";
    static props = {
        models: { type: Array },
        currencyId: { type: Number },
        value: { type: Number },
        openCampaign: { type: Function },
    };

    setup() {
        this.dialog = useService("dialog");
        this.channelIcon = channelIcon;
        this.state = useState({ modelId: this.props.models[0].id, compare: false });
    }

    get model() {
        const { models } = this.props;
        return models.find((model) => model.id === this.state.modelId) || models[0];
    }

    /** Keys of all pieces in the order of the journey, so that a colour means one thing throughout. */
    get keys() {
        const keys = new Set();
        for (const model of this.props.models) {
            for (const credit of model.credits.filter(isAttributed)) {
                keys.add(pieceKey(credit));
            }
        }
        return [...keys];
    }

    pieces(model) {
        const { keys } = this;
        const pieces = new Map();
        for (const credit of model.credits) {
            const key = pieceKey(credit);
            const piece = pieces.get(key) || { ...credit, key, weight: 0, value: 0, touches: 0 };
            piece.weight += credit.weight;
            piece.value += credit.value;
            piece.touches += 1;
            pieces.set(key, piece);
        }
        return [...pieces.values()].map((piece) => ({
            ...piece,
            color: isAttributed(piece)
                ? getColor(keys.indexOf(piece.key), cookie.get("color_scheme"), keys.length)
                : PALE,
            name: [piece.channel, piece.campaign || piece.source].filter(Boolean).join(" · "),
            percent: formatPercentage(piece.weight, { digits: [0, 1] }),
            amount: this.money(piece.value),
        }));
    }

    money(value) {
        return formatMonetary(value, { currencyId: this.props.currencyId });
    }

    select(model) {
        this.state.modelId = model.id;
        this.state.compare = false;
    }

    compare() {
        this.state.compare = true;
    }

    explain(model) {
        this.dialog.add(ReceiptDialog, {
            model,
            value: this.props.value,
            currencyId: this.props.currencyId,
        });
    }
}
