/** The icon of each channel of the core's channel group. */
const CHANNEL_ICONS = {
    "AI Assistant": "fa-magic",
    Affiliates: "fa-handshake-o",
    Audio: "fa-headphones",
    Direct: "fa-location-arrow",
    Display: "fa-picture-o",
    Email: "fa-envelope-o",
    "Mobile Push": "fa-bell-o",
    Offline: "fa-qrcode",
    "Organic Search": "fa-search",
    "Organic Shopping": "fa-shopping-bag",
    "Organic Social": "fa-share-alt",
    "Organic Video": "fa-play-circle-o",
    "Paid Other": "fa-bullhorn",
    "Paid Search": "fa-search-plus",
    "Paid Shopping": "fa-shopping-cart",
    "Paid Social": "fa-thumbs-o-up",
    "Paid Video": "fa-youtube-play",
    Referral: "fa-external-link",
    SMS: "fa-commenting-o",
    Unattributed: "fa-circle-o",
};

/**
 * @param {string} channel
 * @returns {string} a Font Awesome class; plugins may bring channels that have no icon of ours
 */
export function channelIcon(channel) {
    return CHANNEL_ICONS[channel] || "fa-question-circle-o";
}
