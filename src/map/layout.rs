//! Where everything stands in the pictures of a map, as data.

use super::space::{Area, Bar, Plot, bars};
use super::{Map, Net, Node, counted};
use crate::mesh::Role;
use crate::rule::Severity;
use crate::value::Subnet;

/// How wide every picture is.
pub(super) const WIDTH: f64 = 960.0;
/// How wide a character is in the pictures' font, which is of even width.
const CHARACTER: f64 = 7.0;
/// How wide one is in the small font.
const SMALL: f64 = 5.6;
/// The space round what is in a box.
const MARGIN: f64 = 10.0;
/// The height of a member in its network, and of the space below it.
const CHIP: (f64, f64) = (24.0, 6.0);
/// The longest name that a member is shown by, in characters.
const LONGEST_NAME: usize = 32;
/// The height of a row of addresses, of the only one, and of one in which no member has any.
const ROW: (f64, f64, f64) = (44.0, 76.0, 14.0);
/// The space for the addresses of rows in IPv6.
const GUTTER: f64 = 176.0;
/// The smallest that a subnet is drawn.
const SMALLEST: f64 = 4.0;
/// Up to how many members are shown in a table of who lists whom.
const MOST_LISTING: usize = 40;
/// The side of a square of that table.
const SQUARE: f64 = 18.0;

/// A picture with its name.
#[derive(Debug, Default)]
pub(super) struct Picture {
    pub(super) name: String,
    /// What it shows, for those who do not see it.
    pub(super) told: String,
    pub(super) height: f64,
    pub(super) items: Vec<Item>,
}

/// Something in a picture.
#[derive(Debug)]
pub(super) enum Item {
    /// A text from here, or to here if it is of class `end`.
    Text { x: f64, y: f64, class: &'static str, text: String },
    /// A box with a text in it, and what is told where a pointer rests on it.
    Box { x: f64, y: f64, width: f64, height: f64, class: String, label: String, title: String },
}

/// All pictures of a map.
pub(super) fn pictures(map: &Map) -> Vec<Picture> {
    let mut pictures = vec![networks(map)];
    pictures.extend(bars(map).iter().map(|bar| addresses(map, bar)));
    pictures.extend(listing(map));
    pictures
}

fn networks(map: &Map) -> Picture {
    let mut picture = Picture {
        name: "Networks".to_owned(),
        told: "Each network with its members; the table of members says the same".to_owned(),
        ..Picture::default()
    };
    for net in &map.networks {
        network(map, net, &mut picture);
    }
    picture
}

fn network(map: &Map, net: &Net, picture: &mut Picture) {
    let top = picture.height;
    let place = picture.items.len();
    let (mut x, mut y) = (MARGIN, top + 30.0);
    for at in &net.members {
        let node = &map.members[*at];
        let name = clipped(&node.name, LONGEST_NAME);
        let mark = mark(node.worst);
        let label = if mark.is_empty() { name } else { format!("{mark} {name}") };
        let width = text_width(&label, CHARACTER) + 16.0;
        if x > MARGIN && x + width > WIDTH - MARGIN {
            (x, y) = (MARGIN, y + CHIP.0 + CHIP.1);
        }
        let kind = if node.is_own { " own" } else { "" };
        let joined = if node.is_joined { "" } else { " described" };
        picture.items.push(Item::Box {
            x,
            y,
            width,
            height: CHIP.0,
            class: format!("member {}{kind}{joined}", node.state()),
            label,
            title: node.told(map.now),
        });
        x += width + CHIP.1;
    }
    let height = y + CHIP.0 + MARGIN - top;
    let class = if net.are_apart { "net apart" } else { "net" }.to_owned();
    let (label, title) = (String::new(), String::new());
    let frame = Item::Box { x: 0.5, y: top, width: WIDTH - 1.0, height, class, label, title };
    picture.items.insert(place, frame);
    let gateways = match net.gateways.len() {
        0 => String::new(),
        1..4 => {
            let gateways: Vec<_> = net.gateways.iter().map(String::as_str).collect();
            format!("; reached through {}", gateways.join(", "))
        }
        many => format!("; reached through {}", counted(many, "gateway")),
    };
    let text = format!("{} ({}){gateways}", net.name, counted(net.members.len(), "member"));
    let text = clipped(&text, 130);
    picture.items.push(Item::Text { x: MARGIN, y: top + 19.0, class: "head", text });
    picture.height = top + height + MARGIN;
}

fn addresses(map: &Map, bar: &Bar) -> Picture {
    let gutter = if bar.range.is_ipv4() { 0.0 } else { GUTTER };
    let rows = Rows::of(bar);
    let width = WIDTH - gutter - 1.0;
    let used: usize = bar.plots.iter().map(|plot| plot.claimants.len()).sum();
    let mut picture = Picture {
        name: format!("Addresses of {}", bar.range),
        told: format!(
            "Where {} of members are in {}, row by row; the table of members says the same",
            counted(used, "subnet"),
            bar.range
        ),
        height: rows.at(1.0) + 2.0,
        ..Picture::default()
    };
    let place = |area: Area| {
        let (top, bottom) = (rows.at(area.y), rows.at(area.y + area.height));
        let (x, y) = (0.5 + gutter + area.x * width, 1.0 + top);
        Area { x, y, width: area.width * width, height: bottom - top }
    };
    for cell in bar.cells() {
        let area = bar.area(cell);
        let is_first = area.x == 0.0;
        let area = place(area);
        picture.items.push(boxed(area, "cell".to_owned(), String::new(), String::new()));
        let text = cell.to_string();
        let text = text.split('/').next().unwrap_or_default();
        let y = area.y + area.height - 4.0;
        if bar.range.is_ipv4() {
            let octets = usize::from(cell.prefix_len().div_ceil(8));
            let text = text.split('.').take(octets).collect::<Vec<_>>().join(".");
            let x = area.x + area.width - 4.0;
            picture.items.push(Item::Text { x, y, class: "address end", text });
        } else if is_first {
            let (x, text) = (gutter - 6.0, text.to_owned());
            picture.items.push(Item::Text { x, y, class: "address end", text });
        }
    }
    for (at, plot) in bar.plots.iter().enumerate() {
        let Some(subnet) = plot.subnet else { continue };
        let Area { x, y, width, height } = place(bar.area(subnet));
        // What is in another subnet is drawn within it.
        let inset = 1.0 + 3.0 * f64::from(plot.depth.min(3));
        let inset = inset.min(width / 4.0).min(height / 4.0);
        let shrunk = |length: f64| (length - 2.0 * inset).max(SMALLEST);
        let (width, height) = (shrunk(width), shrunk(height));
        let area = Area { x: x + inset, y: y + inset, width, height };
        let label = label(map, plot, area);
        let holds_more = bar.plots.get(at + 1).is_some_and(|next| next.depth > plot.depth);
        let class = format!("{} {}", role(plot), state(plot));
        let title = claimed(map, plot, subnet);
        if holds_more && !label.is_empty() {
            let (x, y) = (area.x + area.width / 2.0, area.y + area.height - 4.0);
            picture.items.push(boxed(area, class, String::new(), title));
            picture.items.push(Item::Text { x, y, class: "address below", text: label });
        } else {
            picture.items.push(boxed(area, class, label, title));
        }
    }
    picture
}

fn boxed(area: Area, class: String, label: String, title: String) -> Item {
    let Area { x, y, width, height } = area;
    Item::Box { x, y, width, height, class, label, title }
}

/// The rows of a bar, which are low where nothing is in them.
struct Rows(Vec<f64>);

impl Rows {
    fn of(bar: &Bar) -> Self {
        let count = 1_usize << bar.row_bits;
        let mut heights = vec![if count == 1 { ROW.1 } else { ROW.2 }; count];
        for subnet in bar.plots.iter().filter_map(|plot| plot.subnet).filter(|_| count > 1) {
            let area = bar.area(subnet);
            let mut top = 0.0;
            for height in &mut heights {
                let bottom = top + 1.0 / f64::from(1_u32 << bar.row_bits);
                if area.y < bottom && top < area.y + area.height {
                    *height = ROW.0;
                }
                top = bottom;
            }
        }
        Self(heights)
    }

    /// How far down something is that is at this part of a bar whose rows are all alike.
    fn at(&self, part: f64) -> f64 {
        let mut left = part * f64::from(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        let mut down = 0.0;
        for height in &self.0 {
            down += height * left.clamp(0.0, 1.0);
            left -= 1.0;
        }
        down
    }
}

fn role(plot: &Plot) -> &'static str {
    let has = |role| plot.claimants.iter().any(|(_, of)| *of == role);
    match (has(Role::Pod), has(Role::Service)) {
        (true, true) => "both",
        (false, true) => "service",
        _ => "pod",
    }
}

fn state(plot: &Plot) -> &'static str {
    super::state(plot.worst)
}

fn mark(worst: Option<Severity>) -> &'static str {
    match worst {
        Some(Severity::Deny) => "\u{2715}",
        Some(Severity::Warn) => "!",
        None => "",
    }
}

/// Whose subnet it is, as far as there is room.
fn label(map: &Map, plot: &Plot, area: Area) -> String {
    let members: Vec<_> = members(map, plot);
    let name = match members.as_slice() {
        [one] => one.name.to_string(),
        [first, others @ ..] => format!("{} +{}", first.name, others.len()),
        [] => String::new(),
    };
    let mark = mark(plot.worst);
    let name = if mark.is_empty() { name } else { format!("{mark} {name}") };
    let room = (1..=name.chars().count()).rev();
    let fits = |length: &usize| text_width(&clipped(&name, *length), SMALL) <= area.width - 8.0;
    match room.into_iter().find(fits) {
        Some(length) if area.height >= 12.0 && (length >= 3 || length == name.chars().count()) => {
            clipped(&name, length)
        }
        _ => String::new(),
    }
}

fn members<'m>(map: &'m Map, plot: &Plot) -> Vec<&'m Node> {
    let mut members: Vec<_> = plot.claimants.iter().map(|(at, _)| *at).collect();
    members.dedup();
    members.into_iter().map(|at| &map.members[at]).collect()
}

/// How many of those who use a subnet are named.
const MOST_CLAIMANTS: usize = 12;

/// Who uses a subnet, and how that is known.
fn claimed(map: &Map, plot: &Plot, subnet: Subnet) -> String {
    let mut told = format!("{subnet} ({})", state(plot));
    let text = subnet.to_string();
    for (at, role) in plot.claimants.iter().take(MOST_CLAIMANTS) {
        let node = &map.members[*at];
        let what = role.to_string();
        let known = node.facts.iter().find(|it| it.what == what && it.value == text);
        let how = known.map(|it| format!(", {} {}", it.how(map.now), it.from));
        told = format!("{told}\n{what} of {}{}", node.name, how.unwrap_or_default());
    }
    match plot.claimants.len().saturating_sub(MOST_CLAIMANTS) {
        0 => told,
        more => format!("{told}\nand {more} more"),
    }
}

/// Who lists whom, where that is known of several.
fn listing(map: &Map) -> Option<Picture> {
    let listers = map.members.iter().filter(|node| !node.lists.is_empty()).count();
    if listers < 2 || map.members.len() > MOST_LISTING {
        return None;
    }
    let names: Vec<_> = map.members.iter().map(|node| clipped(&node.name, LONGEST_NAME)).collect();
    let widest = names.iter().map(|name| text_width(name, CHARACTER)).fold(0.0, f64::max);
    let left = widest + 3.0 * CHARACTER + 2.0 * MARGIN;
    let mut picture = Picture {
        name: "Who lists whom".to_owned(),
        told: "A row for each member that lists others; the table of members says the same"
            .to_owned(),
        height: MARGIN + SQUARE,
        ..Picture::default()
    };
    let mut x = left;
    for number in 1..=names.len() {
        let text = number.to_string();
        picture.items.push(Item::Text { x: x + 4.0, y: SQUARE - 4.0, class: "address", text });
        x += SQUARE;
    }
    for (at, (node, name)) in map.members.iter().zip(names).enumerate() {
        let y = picture.height - MARGIN;
        let text = format!("{} {name}", at + 1);
        let x = left - MARGIN;
        picture.items.push(Item::Text { x, y: y + SQUARE - 5.0, class: "name end", text });
        let mut x = left;
        for (other, listed) in map.members.iter().enumerate() {
            let lists = node.lists.contains(&other);
            let back = listed.lists.contains(&at) || !listed.is_own;
            let (class, label, words) = match (lists, back) {
                _ if at == other => ("same", "", "itself"),
                (true, true) => ("lists", "\u{2713}", "lists"),
                (true, false) => ("lists denied", "\u{2192}", "lists, but is not listed by"),
                (false, _) => ("free", "", "does not list"),
            };
            picture.items.push(Item::Box {
                x,
                y,
                width: SQUARE - 2.0,
                height: SQUARE - 2.0,
                class: class.to_owned(),
                label: label.to_owned(),
                title: format!("{} {words} {}", node.name, listed.name),
            });
            x += SQUARE;
        }
        picture.height += SQUARE;
    }
    Some(picture)
}

fn clipped(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['\u{2026}']).collect(),
    }
}

/// How wide a text is; what is not ASCII may be twice as wide as a letter.
fn text_width(text: &str, character: f64) -> f64 {
    let wide = |c: char| if c.is_ascii() || "\u{2026}\u{2715}".contains(c) { 1 } else { 2 };
    f64::from(text.chars().map(wide).sum::<u32>()) * character
}
