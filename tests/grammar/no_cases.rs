fn main() {
    aqueduct::select! {}
}
