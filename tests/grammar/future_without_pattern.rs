fn main() {
    aqueduct::select! {
        std::future::ready(1) => {}
    }
}
