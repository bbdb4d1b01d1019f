import { cookie } from "@web/core/browser/cookie";
import { getColor } from "@web/core/colors/colors";

/** Grey in both themes, and no channel's colour: what no touch earned, and the period before. */
export const PALE = "#9a9ca5";

const PALETTE = "lg";

/**
 * Icon of each channel of the core's channel group, of calls and meetings and of what no touch earned,
 * and its colour's place in Odoo's palette.
 */
const CHANNELS = {
    "AI Assistant": { icon: "fa-magic", color: 4 },
    Affiliates: { icon: "fa-handshake-o", color: 7 },
    Audio: { icon: "fa-headphones", color: 17 },
    "Cross-network": { icon: "fa-random", color: 5 },
    Direct: { icon: "fa-location-arrow", color: 15 },
    Display: { icon: "fa-picture-o", color: 1 },
    Email: { icon: "fa-envelope-o", color: 6 },
    "Mobile Push": { icon: "fa-bell-o", color: 8 },
    Offline: { icon: "fa-qrcode", color: 10 },
    "Organic Search": { icon: "fa-search", color: 9 },
    "Organic Shopping": { icon: "fa-shopping-bag", color: 11 },
    "Organic Social": { icon: "fa-share-alt", color: 3 },
    "Organic Video": { icon: "fa-play-circle-o", color: 22 },
    "Paid Other": { icon: "fa-bullhorn", color: 2 },
    "Paid Search": { icon: "fa-search-plus", color: 0 },
    "Paid Shopping": { icon: "fa-shopping-cart", color: 14 },
    "Paid Social": { icon: "fa-thumbs-o-up", color: 12 },
    "Paid Video": { icon: "fa-youtube-play", color: 13 },
    Referral: { icon: "fa-external-link", color: 21 },
    SMS: { icon: "fa-commenting-o", color: 16 },
    Sales: { icon: "fa-phone", color: 18 },
    Unassigned: { icon: "fa-question-circle-o", color: 19 },
    Unattributed: { icon: "fa-circle-o" },
};

/**
 * @param {string} channel
 * @returns {string} a Font Awesome class; plugins may bring channels that have no icon of ours
 */
export function channelIcon(channel) {
    return CHANNELS[channel]?.icon || "fa-question-circle-o";
}

/**
 * @param {string} channel
 * @returns {string} the same colour in every chart, whatever other channels are in it
 */
export function channelColor(channel) {
    if (channel === "Unattributed") {
        return PALE;
    }
    const place = CHANNELS[channel]?.color ?? [...channel].reduce((sum, one) => sum + one.codePointAt(0), 0);
    return getColor(place, cookie.get("color_scheme"), PALETTE);
}
